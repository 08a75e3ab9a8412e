/* The product of a chain's matrices, and its gradients, for LANES rows of a batch side by side.

The running product of a ring has as many lines as the matrices and starts from the first of them; that of a train is
a single line and starts from ones. At a size of one they are the same.

_kernels.c includes this file for every type of number and set of instructions, with these macros defined: DOUBLE (or
float), BYTES (the size of a vector register), TARGET (the attribute of functions that use it) and NAME(x).

A matrix of a group of rows holds a vector, one number for each row, in every entry. Its lines lie an odd number of
vectors apart (`line`): at a power of two they would share few places in the cache. */

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

typedef REAL NAME(vec) __attribute__((vector_size(LANES * sizeof(REAL)), may_alias));
typedef INTEGER NAME(bits) __attribute__((vector_size(LANES * sizeof(INTEGER))));
#define vec NAME(vec)
#define bits NAME(bits)
#define INLINE static inline __attribute__((always_inline)) TARGET

#include "_kernels_blocks.h"

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
static TARGET vec NAME(take)(struct NAME(scale) *scale, long lines, long m, const vec *product, long line) {
    vec total = {0};
    for (long i = 0; i < lines; i++)
        for (long j = 0; j < m; j++) total += product[i * line + j];
    int deep = 0;
    for (int r = 0; r < LANES; r++) {
        REAL left = scale->left[r] * total[r];
        scale->left[r] = left > 1 ? 1 : left;
        deep |= left < (REAL)SMALL;
    }
    if (deep) {
        vec least = product[0];
        for (long i = 0; i < lines; i++)
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

/* Where the factors and the kept products of a segment and a group of rows begin. */
INLINE vec *NAME(factors)(const struct job *job, long s, long group) {
    return (vec *)job->factors + s * ceil_div(segment_length(job), job->rescaled) * ceil_div(job->rows, LANES) + group;
}

INLINE vec *NAME(kept)(const struct job *job, long s, long group, long part) {
    long parts = ceil_div(segment_length(job), KEPT) - 1;
    long size = job->lines * (job->rank | 1);
    return (vec *)job->kept + ((s * parts + part - 1) * ceil_div(job->rows, LANES) + group) * size;
}

/* Fills a product with the ones that it starts from, or returns NULL where it starts from the first matrix. */
INLINE vec *NAME(start)(const struct job *job, vec *product) {
    if (job->lines == job->rank) return NULL;
    for (long x = 0; x < job->lines * (job->rank | 1); x++) product[x] = (vec){0} + 1;
    return product;
}

static TARGET void NAME(forward)(const struct job *job, long s, long group, void *scratch) {
    long m = job->rank, line = m | 1, size = job->lines * line, components = job->components;
    long begin = s * segment_length(job), end = segment_end(job, s), groups = ceil_div(job->rows, LANES);
    vec *product = scratch, *next = product + size, *link = next + size, *weights = link + m * line;
    const vec *before = NAME(start)(job, product); /* NULL before the first matrix of a ring */
    vec *factors = NAME(factors)(job, s, group), factor = {0};
    struct NAME(scale) scale = {0};
    for (int r = 0; r < LANES; r++) scale.mantissa[r] = scale.left[r] = 1;
    for (long t = 0; t < end - begin; t++) {
        vec shift = NAME(read_weights)(job, begin + t, group, weights);
        for (int r = 0; r < LANES; r++) scale.log_shift[r] += shift[r];
        if (t && t % job->rescaled == 0)
            for (long k = 0; k < components; k++) weights[k] *= factor;
        if (t && t % KEPT == 0 && job->kept)
            memcpy(NAME(kept)(job, s, group, t / KEPT), product, size * sizeof(vec));
        const REAL *cores = (const REAL *)job->cores + (begin + t) * components * m * m;
        NAME(link)(m, components, weights, cores, before ? link : product, line);
        if (before) {
            NAME(product)(job->lines, m, m, before, line, 1, link, line, 1, next, line);
            vec *swapped = product;
            product = next, next = swapped;
        }
        before = product;
        if ((t + 1) % job->rescaled == 0 || begin + t + 1 == end)
            factors[t / job->rescaled * groups] = factor = NAME(take)(&scale, job->lines, m, product, line);
    }
    for (long r = 0; r < LANES && group * LANES + r < job->rows; r++) {
        long row = s * job->rows + group * LANES + r;
        REAL *out = (REAL *)job->product + row * job->lines * m;
        for (long i = 0; i < job->lines; i++)
            for (long j = 0; j < m; j++) out[i * m + j] = ((REAL *)product)[(i * line + j) * LANES + r] * factor[r];
        double log_scale = scale.log_shift[r] + log(scale.mantissa[r]) + scale.exponent[r] * 0.69314718055994530942;
        job->log_product[row] = scale.lost[r] ? -INFINITY : log_scale;
        ((REAL *)job->fall)[row] = -log(scale.left[r]);
    }
}

/* The gradients of a segment for a group of rows, from the products kept every few links on. */
static TARGET void NAME(backward)(const struct job *job, long s, long group, void *scratch, void *grad_cores, int add) {
    long m = job->rank, line = m | 1, lines = job->lines, components = job->components;
    long size = lines * line, size_of_link = m * line;
    long begin = s * segment_length(job), end = segment_end(job, s), groups = ceil_div(job->rows, LANES);
    long whole = ceil_div(m * m, LANES) * LANES, present = job->rows - group * LANES;
    if (present > LANES) present = LANES;
    vec *links = scratch, *products = links + KEPT * size_of_link, *grad = products + KEPT * size, *spare = grad + size;
    vec *grad_link = spare + size, *transposed = grad_link + whole, *weights = transposed + whole;
    vec *grad_weights = weights + KEPT * components, *rows_first = grad_weights + components;
    vec *factors = NAME(factors)(job, s, group), last = factors[(end - begin - 1) / job->rescaled * groups];
    memset(grad, 0, size * sizeof(vec));
    for (long r = 0; r < present; r++) {
        const REAL *in = (const REAL *)job->grad + (s * job->rows + group * LANES + r) * lines * m;
        for (long i = 0; i < lines; i++)
            for (long j = 0; j < m; j++) ((REAL *)grad)[(i * line + j) * LANES + r] = in[i * m + j] * last[r];
    }
    for (long part = (end - begin - 1) / KEPT; part >= 0; part--) {
        long first = begin + part * KEPT, count = end - first < KEPT ? end - first : KEPT;
        const vec *before[KEPT]; /* the products before each link; NULL before the first matrix of a ring */
        before[0] = part ? NAME(kept)(job, s, group, part) : NAME(start)(job, products);
        for (long t = 0; t < count; t++) {
            vec *of_link = weights + t * components;
            NAME(read_weights)(job, first + t, group, of_link);
            if ((part || t) && t % job->rescaled == 0)
                for (long k = 0; k < components; k++)
                    of_link[k] *= factors[((part * KEPT + t) / job->rescaled - 1) * groups];
            const REAL *cores = (const REAL *)job->cores + (first + t) * components * m * m;
            vec *link = links + t * size_of_link, *next = products + (t + 1) * size;
            NAME(link)(m, components, of_link, cores, link, line);
            if (t + 1 == count) break;
            before[t + 1] = before[t] ? next : link;
            if (before[t]) NAME(product)(lines, m, m, before[t], line, 1, link, line, 1, next, line);
        }
        for (long t = count - 1; t >= 0; t--) {
            if (before[t]) {
                NAME(product)(m, m, lines, before[t], 1, line, grad, line, 1, grad_link, m);
                NAME(product)(lines, m, m, grad, line, 1, links + t * size_of_link, 1, line, spare, line);
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
    long m = job->rank, size = job->lines * (m | 1), size_of_link = m * (m | 1), whole = ceil_div(m * m, LANES) * LANES;
    long vectors = backward ? KEPT * size_of_link + (KEPT + 2) * size + 2 * whole + (KEPT + 2) * job->components
                            : 2 * size + size_of_link + job->components;
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
#undef DOUBLE
