/* The product of a chain's matrices, and its gradients, for LANES rows of a batch side by side.

_kernels.c includes this file for every type of number and set of instructions, with these macros defined: DOUBLE (or
float), BYTES (the size of a vector register), TARGET (the attribute of functions that use it), NAME(x) and HELPERS.

A matrix of a group of rows holds a vector, one number for each row, in every entry. Its lines lie an odd number of
vectors apart (`line`): at a power of two they would share few places in the cache. The matrix products keep a block
of sums in registers. */

#if DOUBLE
#define REAL double
#define INTEGER long long
#define LANES (BYTES / 8)
#define MANTISSA 52
#define DEGREE 13
#define LOG_TINY -708.3
#define SMALL 0x1p-511 /* the square root of the smallest normal number */
#define LARGEST DBL_MAX
#else
#define REAL float
#define INTEGER int
#define LANES (BYTES / 4)
#define MANTISSA 23
#define DEGREE 7
#define LOG_TINY -87.3
#define SMALL 0x1p-63
#define LARGEST FLT_MAX
#endif

#if LANES == 16
#define FIRST_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define LAST_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES == 8
#define FIRST_HALVES 0, 8, 1, 9, 2, 10, 3, 11
#define LAST_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#elif LANES == 4
#define FIRST_HALVES 0, 4, 1, 5
#define LAST_HALVES 2, 6, 3, 7
#else
#define FIRST_HALVES 0, 2
#define LAST_HALVES 1, 3
#endif

/* A block has so many lines and columns that their products fit the registers. */
#if BYTES == 64 || (BYTES == 16 && !defined(__x86_64__))
#define BLOCK 5
#define BLOCKS LINE(1) LINE(2) LINE(3) LINE(4) LINE(5)
#define LINE(I) CASE(I, 1) CASE(I, 2) CASE(I, 3) CASE(I, 4) CASE(I, 5)
#else
#define BLOCK 3
#define BLOCKS LINE(1) LINE(2) LINE(3)
#define LINE(I) CASE(I, 1) CASE(I, 2) CASE(I, 3)
#endif

typedef REAL NAME(vec) __attribute__((vector_size(LANES * sizeof(REAL)), may_alias));
typedef INTEGER NAME(bits) __attribute__((vector_size(LANES * sizeof(INTEGER))));
#define vec NAME(vec)
#define bits NAME(bits)
#define INLINE static inline __attribute__((always_inline)) TARGET

/* out[i][j] = sum_s x[i][s] y[s][j] for a block of I lines and J columns; the steps say how x and y lie. */
INLINE void NAME(product_block)(const int I, const int J, long size, const vec *x, long xi, long xs, const vec *y,
                                long ys, long yj, vec *out, long line) {
    vec sum[BLOCK][BLOCK];
    UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) sum[i][j] = (vec){0};
    for (long s = 0; s < size; s++, x += xs, y += ys)
        UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) sum[i][j] += x[i * xi] * y[j * yj];
    UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) out[i * line + j] = sum[i][j];
}

static TARGET void NAME(product)(long m, const vec *x, long xi, long xs, const vec *y, long ys, long yj, vec *out,
                                 long line) {
    for (long j = 0, J; j < m; j += J) {
        J = share(m - j, BLOCK);
        for (long i = 0, I; i < m; i += I) {
            I = share(m - i, BLOCK);
#define CASE(A, B)                                                                                                     \
    case 8 * A + B: NAME(product_block)(A, B, m, x + i * xi, xi, xs, y + j * yj, ys, yj, out + i * line + j, line); break;
            switch (8 * I + J) { BLOCKS }
#undef CASE
        }
    }
}

/* out[i][j] = sum_k weights[k] cores[k][i][j] */
INLINE void NAME(link_block)(const int I, const int J, long m, long components, const vec *weights, const REAL *cores,
                             vec *out, long line) {
    vec sum[BLOCK][BLOCK];
    UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) sum[i][j] = (vec){0};
    for (long k = 0; k < components; k++, cores += m * m)
        UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++)
            sum[i][j] += weights[k] * cores[i * m + j];
    UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) out[i * line + j] = sum[i][j];
}

static TARGET void NAME(link)(long m, long components, const vec *weights, const REAL *cores, vec *out, long line) {
    for (long i = 0, I; i < m; i += I) {
        I = share(m - i, BLOCK);
        for (long j = 0, J; j < m; j += J) {
            J = share(m - j, BLOCK);
#define CASE(A, B)                                                                                                     \
    case 8 * A + B: NAME(link_block)(A, B, m, components, weights, cores + i * m + j, out + i * line + j, line); break;
            switch (8 * I + J) { BLOCKS }
#undef CASE
        }
    }
}

/* grad_weights[k] = sum_x grad_link[x] cores[k][x] */
INLINE void NAME(weights_block)(const int K, long size, const vec *grad_link, const REAL *cores, vec *grad_weights) {
    vec sum[8];
    UNROLL for (int k = 0; k < K; k++) sum[k] = (vec){0};
    for (long x = 0; x < size; x++) UNROLL for (int k = 0; k < K; k++) sum[k] += grad_link[x] * cores[k * size + x];
    UNROLL for (int k = 0; k < K; k++) grad_weights[k] = sum[k];
}

static TARGET void NAME(grad_weights)(long size, long components, const vec *grad_link, const REAL *cores, vec *out) {
    for (long k = 0, K; k < components; k += K) {
        K = share(components - k, 8);
#define CASE(A)                                                                                                        \
    case A: NAME(weights_block)(A, size, grad_link, cores + k * size, out + k); break;
        switch (K) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) }
#undef CASE
    }
}

/* LANES vectors with rows last become LANES vectors with rows first, in as many rounds as LANES is a power of two. */
INLINE void NAME(transpose)(const vec *in, vec *out) {
    vec a[LANES], b[LANES];
    UNROLL for (int i = 0; i < LANES; i++) a[i] = in[i];
    UNROLL for (int round = 1; round < LANES; round *= 2) {
        UNROLL for (int i = 0; i < LANES / 2; i++) {
            b[2 * i] = SHUFFLE(a[i], a[i + LANES / 2], FIRST_HALVES);
            b[2 * i + 1] = SHUFFLE(a[i], a[i + LANES / 2], LAST_HALVES);
        }
        UNROLL for (int i = 0; i < LANES; i++) a[i] = b[i];
    }
    UNROLL for (int i = 0; i < LANES; i++) out[i] = a[i];
}

/* sum[k][x] += sum_r weights[r][k] grad_link[x][r], for J vectors of x, of which the last may hold `last` numbers. */
INLINE void NAME(cores_block)(const int I, const int J, long size, long components, const REAL *weights,
                              const vec *transposed, REAL *out, long last, int add) {
    vec sum[BLOCK][BLOCK];
    UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) sum[i][j] = (vec){0};
    for (long r = 0; r < LANES; r++, weights += components, transposed++)
        UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++)
            sum[i][j] += weights[i] * transposed[j * LANES];
    UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) {
        vec before = {0};
        REAL *to = out + i * size + j * LANES;
        size_t bytes = (j + 1 < J ? LANES : last) * sizeof(REAL);
        if (add) memcpy(&before, to, bytes);
        before += sum[i][j];
        memcpy(to, &before, bytes);
    }
}

static TARGET void NAME(grad_cores)(long size, long components, const REAL *weights, const vec *transposed, REAL *out,
                                    int add) {
    long vectors = (size + LANES - 1) / LANES;
    for (long j = 0, J; j < vectors; j += J) {
        J = share(vectors - j, BLOCK);
        long last = j + J < vectors ? LANES : size - (vectors - 1) * LANES;
        for (long i = 0, I; i < components; i += I) {
            I = share(components - i, BLOCK);
#define CASE(A, B)                                                                                                     \
    case 8 * A + B:                                                                                                    \
        NAME(cores_block)(A, B, size, components, weights + i, transposed + j * LANES,                                 \
                          out + i * size + j * LANES, last, add);                                                      \
        break;
            switch (8 * I + J) { BLOCKS }
#undef CASE
        }
    }
}

/* exp(x) for x <= 0, and zero where that is denormal. */
INLINE vec NAME(exp)(vec x) {
    const REAL magic = MANTISSA == 23 ? 0x1.8p23 : 0x1.8p52; /* adding it rounds to an integer, in the lowest bits */
    const REAL log2_high = MANTISSA == 23 ? 0.693359375 : 6.93147180369123816490e-01;
    const REAL log2_low = MANTISSA == 23 ? -2.12194440e-4 : 1.90821492927058770002e-10;
    vec shifted = x * (REAL)1.4426950408889634 + magic, power = shifted - magic;
    vec rest = x - power * log2_high - power * log2_low, result = (vec){0} + (REAL)inverse_factorial[DEGREE];
    UNROLL for (int k = DEGREE - 1; k >= 0; k--) result = result * rest + (REAL)inverse_factorial[k];
    bits exponent = ((bits)shifted - (bits)((vec){0} + magic)) << MANTISSA;
    return (vec)(((bits)result + exponent) & ~(bits)(x < (REAL)LOG_TINY));
}

/* The weights of a link for a group of rows, with a largest of one; the last row stands in for those that are missing.
   Returns what was subtracted from their logarithms. */
static TARGET vec NAME(read_weights)(const struct job *job, long link, long group, vec *weights) {
    long components = job->components, first = group * LANES;
    const REAL *log_weights = (const REAL *)job->log_weights + link * job->rows * components;
    const REAL *log_scale = (const REAL *)job->log_scale + link * components;
    for (long r = 0; r < LANES; r++) {
        const REAL *row = log_weights + (first + r < job->rows ? first + r : job->rows - 1) * components;
        for (long k = 0; k < components; k++) ((REAL *)weights)[k * LANES + r] = row[k];
    }
    vec most = (vec){0} - (REAL)LARGEST;
    for (long k = 0; k < components; k++) {
        weights[k] += log_scale[k];
        most = SELECT(weights[k] > most, weights[k], most);
    }
    for (long k = 0; k < components; k++) weights[k] = NAME(exp)(weights[k] - most);
    return most;
}

/* What was taken out of the products of a group of rows, as by Scale in products.py. */
struct NAME(scale) {
    double log_shift[LANES], mantissa[LANES];
    long exponent[LANES];
    REAL left[LANES]; /* exp(-fall) */
    int lost[LANES];
};

/* Notes the sums of the products' entries as taken out and returns their inverses. */
static TARGET vec NAME(take)(struct NAME(scale) *scale, long m, const vec *product, long line) {
    vec total = {0};
    for (long i = 0; i < m; i++)
        for (long j = 0; j < m; j++) total += product[i * line + j];
    int deep = 0;
    for (int r = 0; r < LANES; r++) {
        REAL left = scale->left[r] * total[r];
        scale->left[r] = left > 1 ? 1 : left;
        deep |= left < (REAL)SMALL;
    }
    if (deep) {
        vec least = product[0];
        for (long i = 0; i < m; i++)
            for (long j = 0; j < m; j++)
                least = SELECT(product[i * line + j] < least, product[i * line + j], least);
        for (int r = 0; r < LANES; r++)
            if (scale->left[r] < (REAL)SMALL) {
                scale->lost[r] |= total[r] < (REAL)SMALL || least[r] < (REAL)SMALL;
                scale->left[r] = 1;
                if (total[r] < (REAL)SMALL) total[r] = 1;
            }
    }
    for (int r = 0; r < LANES; r++) {
        int exponent = 0;
        scale->mantissa[r] = frexp(scale->mantissa[r] * total[r], &exponent);
        scale->exponent[r] += exponent;
    }
    return (REAL)1 / total;
}

/* Where the factors and the kept products of a segment and a group of rows lie; `next` ones lie `groups` further on. */
INLINE vec *NAME(factors)(const struct job *job, long s, long group) {
    return (vec *)job->factors + s * ceil_div(segment_length(job), RESCALED) * ceil_div(job->rows, LANES) + group;
}

INLINE vec *NAME(kept)(const struct job *job, long s, long group, long part) {
    long parts = ceil_div(segment_length(job), KEPT) - 1;
    long size = job->rank * (job->rank | 1);
    return (vec *)job->kept + ((s * parts + part - 1) * ceil_div(job->rows, LANES) + group) * size;
}

static TARGET void NAME(forward)(const struct job *job, long s, long group, void *scratch) {
    long m = job->rank, line = m | 1, components = job->components, groups = ceil_div(job->rows, LANES);
    long begin = s * segment_length(job), end = segment_end(job, s);
    vec *product = scratch, *next = product + m * line, *link = next + m * line, *weights = link + m * line;
    vec *factors = NAME(factors)(job, s, group), factor = {0};
    struct NAME(scale) scale = {0};
    for (int r = 0; r < LANES; r++) scale.mantissa[r] = scale.left[r] = 1;
    for (long t = 0; t < end - begin; t++) {
        vec shift = NAME(read_weights)(job, begin + t, group, weights);
        for (int r = 0; r < LANES; r++) scale.log_shift[r] += shift[r];
        if (t && t % RESCALED == 0)
            for (long k = 0; k < components; k++) weights[k] *= factor;
        if (t && t % KEPT == 0 && job->kept)
            memcpy(NAME(kept)(job, s, group, t / KEPT), product, m * line * sizeof(vec));
        const REAL *cores = (const REAL *)job->cores + (begin + t) * components * m * m;
        NAME(link)(m, components, weights, cores, t ? link : product, line);
        if (t) {
            NAME(product)(m, product, line, 1, link, line, 1, next, line);
            vec *swapped = product;
            product = next, next = swapped;
        }
        if ((t + 1) % RESCALED == 0 || begin + t + 1 == end)
            factors[t / RESCALED * groups] = factor = NAME(take)(&scale, m, product, line);
    }
    for (long r = 0; r < LANES && group * LANES + r < job->rows; r++) {
        long row = s * job->rows + group * LANES + r;
        REAL *out = (REAL *)job->product + row * m * m;
        for (long i = 0; i < m; i++)
            for (long j = 0; j < m; j++) out[i * m + j] = ((REAL *)product)[(i * line + j) * LANES + r] * factor[r];
        double log_scale = scale.log_shift[r] + log(scale.mantissa[r]) + scale.exponent[r] * 0.69314718055994530942;
        job->log_product[row] = scale.lost[r] ? -INFINITY : log_scale;
        ((REAL *)job->fall)[row] = -log(scale.left[r]);
    }
}

/* The gradients of a segment for a group of rows, from the products kept every few links on. */
static TARGET void NAME(backward)(const struct job *job, long s, long group, void *scratch, void *grad_cores, int add) {
    long m = job->rank, line = m | 1, size = m * line, components = job->components;
    long begin = s * segment_length(job), end = segment_end(job, s), groups = ceil_div(job->rows, LANES);
    long whole = ceil_div(m * m, LANES) * LANES, present = job->rows - group * LANES;
    if (present > LANES) present = LANES;
    vec *links = scratch, *products = links + KEPT * size, *grad = products + KEPT * size, *spare = grad + size;
    vec *grad_link = spare + size, *transposed = grad_link + whole, *weights = transposed + whole;
    vec *grad_weights = weights + KEPT * components, *rows_first = grad_weights + components;
    vec *factors = NAME(factors)(job, s, group), last = factors[(end - begin - 1) / RESCALED * groups];
    memset(grad, 0, size * sizeof(vec));
    for (long r = 0; r < present; r++) {
        const REAL *in = (const REAL *)job->grad + (s * job->rows + group * LANES + r) * m * m;
        for (long i = 0; i < m; i++)
            for (long j = 0; j < m; j++) ((REAL *)grad)[(i * line + j) * LANES + r] = in[i * m + j] * last[r];
    }
    for (long part = (end - begin - 1) / KEPT; part >= 0; part--) {
        long first = begin + part * KEPT, count = end - first < KEPT ? end - first : KEPT;
        const vec *before[KEPT]; /* the products before each link, none before the first */
        before[0] = part ? NAME(kept)(job, s, group, part) : NULL;
        for (long t = 0; t < count; t++) {
            vec *of_link = weights + t * components;
            NAME(read_weights)(job, first + t, group, of_link);
            if ((part || t) && t % RESCALED == 0)
                for (long k = 0; k < components; k++)
                    of_link[k] *= factors[((part * KEPT + t) / RESCALED - 1) * groups];
            const REAL *cores = (const REAL *)job->cores + (first + t) * components * m * m;
            NAME(link)(m, components, of_link, cores, links + t * size, line);
            if (t + 1 == count) break;
            before[t + 1] = before[t] ? products + t * size : links;
            if (before[t]) NAME(product)(m, before[t], line, 1, links + t * size, line, 1, products + t * size, line);
        }
        for (long t = count - 1; t >= 0; t--) {
            if (before[t]) {
                NAME(product)(m, before[t], 1, line, grad, line, 1, grad_link, m);
                NAME(product)(m, grad, line, 1, links + t * size, 1, line, spare, line);
                vec *swapped = grad;
                grad = spare, spare = swapped;
            } else
                for (long i = 0; i < m; i++) memcpy(grad_link + i * m, grad + i * line, m * sizeof(vec));
            const vec *of_link = weights + t * components;
            const REAL *cores = (const REAL *)job->cores + (first + t) * components * m * m;
            if (job->grad_weights) {
                NAME(grad_weights)(m * m, components, grad_link, cores, grad_weights);
                REAL *out = (REAL *)job->grad_weights + ((first + t) * job->rows + group * LANES) * components;
                for (long k = 0; k < components; k++) grad_weights[k] *= of_link[k];
                for (long r = 0; r < present; r++)
                    for (long k = 0; k < components; k++)
                        out[r * components + k] = ((REAL *)grad_weights)[k * LANES + r];
            }
            if (grad_cores) {
                for (long x = 0; x < m * m; x += LANES) NAME(transpose)(grad_link + x, transposed + x);
                for (long r = 0; r < LANES; r++)
                    for (long k = 0; k < components; k++)
                        ((REAL *)rows_first)[r * components + k] = ((const REAL *)of_link)[k * LANES + r];
                REAL *out = (REAL *)grad_cores + (first + t) * components * m * m;
                NAME(grad_cores)(m * m, components, (REAL *)rows_first, transposed, out, add);
            }
        }
    }
}

static long NAME(scratch)(const struct job *job, int backward) {
    long m = job->rank, size = m * (m | 1), whole = ceil_div(m * m, LANES) * LANES;
    long vectors = backward ? (2 * KEPT + 2) * size + 2 * whole + (KEPT + 2) * job->components
                            : 3 * size + job->components;
    return vectors * sizeof(vec);
}

#undef vec
#undef bits
#undef INLINE
#undef REAL
#undef INTEGER
#undef LANES
#undef MANTISSA
#undef DEGREE
#undef LOG_TINY
#undef SMALL
#undef LARGEST
#undef FIRST_HALVES
#undef LAST_HALVES
#undef BLOCK
#undef BLOCKS
#undef LINE
#undef DOUBLE
