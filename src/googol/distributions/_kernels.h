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
#define TINY 0x1p-1022 /* the smallest normal number */
#define SMALL 0x1p-511
#define LARGEST DBL_MAX
#else
#define REAL float
#define INTEGER int
#define LANES (BYTES / 4)
#define MANTISSA 23
#define DEGREE 7
#define LOG_TINY -87.3
#define TINY 0x1p-126
#define SMALL 0x1p-63 /* the square root of TINY */
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

/* How a product and its rows lie in memory. Of many rows, each entry is a vector with a number for every row; where
   they are too few to fill it, one after the other is worked on, and a vector holds neighbouring entries of a line. */
struct NAME(layout) {
    long m, lines, line, size, size_of_link; /* numbers of lines and columns; then sizes in vectors */
    long first, present;                     /* the first row, and how many there are */
};

INLINE struct NAME(layout) NAME(layout_of)(const struct job *job, long first, long present, int single) {
    long m = job->rank, line = single ? (m + LANES - 1) / LANES : m | 1;
    return (struct NAME(layout)){m, job->lines, line, job->lines * line, m * line, first, present};
}

/* Where an entry of a row's product is, in numbers. */
INLINE long NAME(entry)(const struct NAME(layout) *l, int single, long i, long j, long r) {
    return single ? i * l->line * LANES + j : (i * l->line + j) * LANES + r;
}

/* The log-densities of a link's normal components, zero where a value is missing; notes whether one is FAR. */
INLINE void NAME(normal_weights)(const struct job *job, long link, long first, long present, vec *log_weights) {
    const REAL *loc = (const REAL *)job->loc + link * job->components, *inverse = (const REAL *)job->inverse +
               link * job->components, *constant = (const REAL *)job->constant + link * job->components;
    vec value, least = {0};
    for (long r = 0; r < LANES; r++)
        value[r] = ((const REAL *)job->values)[(first + (r < present ? r : present - 1)) * job->links + link];
    for (long k = 0; k < job->components; k++) {
        vec z = (value - loc[k]) * inverse[k], log_prob = (REAL)-0.5 * z * z - constant[k];
        log_weights[k] = SELECT(value == value, log_prob, (vec){0});
        least = SELECT(log_weights[k] < least, log_weights[k], least);
    }
    for (int r = 0; !DOUBLE && r < LANES; r++)
        if (least[r] < (REAL)FAR) __atomic_store_n(job->far, 1, __ATOMIC_RELAXED);
}

/* Reads a line of numbers for each row, into vectors with a number for every row; the last row stands in for those that
   are missing. */
INLINE void NAME(read_lines)(const REAL *in, long present, long size, vec *out) {
    for (long r = 0; r < LANES; r++)
        for (long k = 0; k < size; k++) ((REAL *)out)[k * LANES + r] = in[(r < present ? r : present - 1) * size + k];
}

INLINE void NAME(write_lines)(const vec *in, long present, long size, REAL *out) {
    for (long r = 0; r < present; r++)
        for (long k = 0; k < size; k++) out[r * size + k] = ((const REAL *)in)[k * LANES + r];
}

/* The weights of a link, with a largest of one; the last row stands in for those that are missing. Returns what was
   subtracted from their logarithms. */
static TARGET vec NAME(read_weights)(const struct job *job, long link, long first, long present, vec *weights) {
    long components = job->components;
    const REAL *log_scale = (const REAL *)job->log_scale + link * components;
    if (job->values)
        NAME(normal_weights)(job, link, first, present, weights);
    else
        NAME(read_lines)((const REAL *)job->log_weights + (link * job->rows + first) * components, present, components,
                         weights);
    vec most = (vec){0} - (REAL)LARGEST;
    for (long k = 0; k < components; k++) {
        weights[k] += log_scale[k];
        most = SELECT(weights[k] > most, weights[k], most);
    }
    for (long k = 0; k < components; k++) weights[k] = NAME(exp)(weights[k] - most);
    return most;
}

/* What was taken out of the products, as by Scale in products.py. */
struct NAME(scale) {
    double log_shift[LANES], mantissa[LANES];
    long exponent[LANES];
    int lost[LANES];
};

/* Notes the sums of the products' entries as taken out and returns their inverses. */
INLINE vec NAME(take)(struct NAME(scale) *scale, const struct NAME(layout) *l, int single, const vec *product) {
    vec total = {0};
    for (long i = 0; i < l->lines; i++)
        for (long j = 0; j < (single ? l->line : l->m); j++) total += product[i * l->line + j];
    if (single) {
        REAL sum = 0;
        for (int r = 0; r < LANES; r++) sum += total[r];
        total = (vec){0} + sum;
    }
    for (int r = 0; r < LANES; r++)
        if (total[r] < (REAL)SMALL) {
            scale->lost[r] = 1;
            total[r] = 1;
        }
    for (int r = 0; r < (single ? 1 : LANES); r++) {
        int exponent = 0;
        scale->mantissa[r] *= total[r];
        if (!DOUBLE && scale->mantissa[r] > 1e-200 && scale->mantissa[r] < 1e200) continue;
        scale->mantissa[r] = frexp(scale->mantissa[r], &exponent);
        scale->exponent[r] += exponent;
    }
    return (REAL)1 / total;
}

/* The memory of a thread. Products, links and weights are those of a part of the chain, kept for the gradients; without
   them two products and one link are enough. */
struct NAME(scratch) {
    vec *ones, *bound, *next_bound, *products, *links, *weights, *starts, *factors, *grad, *spare, *grad_link, *transposed, *grad_weights;
};

static long NAME(lay_out)(const struct job *job, struct NAME(scratch) *at, vec *memory) {
    long m = job->rank, size = job->lines * (m | 1), size_of_link = m * (m | 1), length = segment_length(job);
    long whole = ceil_div(size_of_link, LANES) * LANES, part = job->part, gradients = part > 0, used = 0;
#define PLACE(name, count) at->name = memory + used, used += (count)
    PLACE(ones, size);
    PLACE(bound, m | 1);
    PLACE(next_bound, m | 1);
    PLACE(products, (gradients ? part + 1 : 2) * size);
    PLACE(links, (gradients ? part : 1) * size_of_link);
    PLACE(weights, (gradients ? part : 1) * job->components);
    PLACE(factors, ceil_div(length, job->rescaled));
    PLACE(starts, gradients ? (ceil_div(length, part) - 1) * size : 0);
    PLACE(grad, gradients * size);
    PLACE(spare, gradients * size);
    PLACE(grad_link, gradients * whole);
    PLACE(transposed, whole);
    PLACE(grad_weights, 2 * job->components);
#undef PLACE
    return used;
}

/* The product before a link of a part; NULL before the first matrix of a ring. */
INLINE const vec *NAME(before)(const struct NAME(layout) *l, const struct NAME(scratch) *at, const vec *start, long t) {
    return t ? at->products + t * l->size : start;
}

/* A bound of all that was discarded so far because it was below the smallest number, divided by SMALL: the sums of its
   columns. It goes through the links as the product does, and each adds what is discarded there. */
INLINE void NAME(bound_of_discarded)(const struct job *job, const struct NAME(layout) *l, int single, long t,
                                     const vec *link, struct NAME(scratch) *at) {
    long m = l->m;
    /* Weights and entries of cores, times the largest sum of a product since it was rescaled, and products of both. */
    double most = 1;
    for (long i = 1; i < job->rescaled; i++) most *= (double)job->components * m;
    REAL more = TINY / SMALL * (2 * job->components * most + m * m);
    if (t && single)
        NAME(product_of_row)(1, l->line, m, (const REAL *)at->bound, 0, 1, link, l->line, at->next_bound);
    else if (t)
        NAME(product)(1, m, m, at->bound, 0, 1, link, l->line, 1, at->next_bound, l->line);
    for (long j = 0; j < (single ? l->line : m); j++) at->next_bound[j] = (t ? at->next_bound[j] : (vec){0}) + more;
    vec *swapped = at->bound;
    at->bound = at->next_bound, at->next_bound = swapped;
}

/* Goes on from the product `start` by some links. All that the gradients need is kept, or nothing; what is taken out of
   the products is noted, or it is known already from the first time. Returns the last product. */
INLINE const vec *NAME(go_on)(const struct job *job, const struct NAME(layout) *l, int single, long s, long t,
                              long count, const vec *start, int keep, struct NAME(scale) *scale,
                              struct NAME(scratch) *at) {
    long begin = s * segment_length(job), end = segment_end(job, s), m = l->m, components = job->components;
    for (long i = 0; i < count; i++, t++) {
        vec *weights = at->weights + (keep ? i * components : 0), *link = at->links + (keep ? i * l->size_of_link : 0);
        vec shift = NAME(read_weights)(job, begin + t, l->first, l->present, weights);
        if (scale)
            for (int r = 0; r < LANES; r++) scale->log_shift[r] += shift[r];
        if (t && t % job->rescaled == 0)
            for (long k = 0; k < components; k++) weights[k] *= at->factors[t / job->rescaled - 1];
        /* Without a part that is kept, the two products take turns. */
        vec *next = at->products + (keep ? i + 1 : start == at->products ? 1 : 0) * l->size;
        const REAL *cores = (const REAL *)job->cores + (begin + t) * components * m * m;
        if (single)
            NAME(link_of_row)(m, components, weights, cores, start ? link : next, l->line, at->transposed);
        else
            NAME(link)(m, components, weights, cores, start ? link : next, l->line);
        if (start && (scale || i + 1 < count)) {
            if (single)
                NAME(product_of_row)(l->lines, l->line, m, (const REAL *)start, l->line * LANES, 1, link, l->line, next);
            else
                NAME(product)(l->lines, m, m, start, l->line, 1, link, l->line, 1, next, l->line);
        }
        if (scale) NAME(bound_of_discarded)(job, l, single, t, start ? link : next, at);
        start = next;
        if (scale && ((t + 1) % job->rescaled == 0 || begin + t + 1 == end))
            at->factors[t / job->rescaled] = NAME(take)(scale, l, single, start);
    }
    return start;
}

/* What is asked of a product: its entries, or the logarithm of their trace or sum. */
INLINE void NAME(write_product)(const struct job *job, const struct NAME(layout) *l, int single, long s,
                                const vec *product, const vec *bounds, vec factor, const struct NAME(scale) *scale,
                                REAL *closed) {
    for (long r = 0; r < l->present; r++) {
        long row = s * job->rows + l->first + r, m = l->m, lines = l->lines;
        double log_scale = scale->log_shift[r] + log(scale->mantissa[r]) + scale->exponent[r] * 0.69314718055994530942;
        REAL bound = 0;
        for (long j = 0; j < m; j++) bound += ((const REAL *)bounds)[single ? j : j * LANES + r] * factor[r];
        if (scale->lost[r] || !(bound <= (REAL)(MOST_DISCARDED / SMALL))) log_scale = -INFINITY;
        if (job->log_sums) {
            REAL sum = 0;
            for (long i = 0; i < lines; i++)
                for (long j = lines == m ? i : 0; j < (lines == m ? i + 1 : m); j++)
                    sum += ((const REAL *)product)[NAME(entry)(l, single, i, j, r)] * factor[r];
            closed[r] = scale->lost[r] || sum < (REAL)SMALL || bound > (REAL)(MOST_DISCARDED / SMALL) * sum ? 0 : sum;
            job->log_sums[row] = closed[r] == 0 ? -INFINITY : log(closed[r]) + log_scale;
        }
        if (job->product) {
            REAL *out = (REAL *)job->product + row * lines * m;
            for (long i = 0; i < lines; i++)
                for (long j = 0; j < m; j++)
                    out[i * m + j] = ((const REAL *)product)[NAME(entry)(l, single, i, j, r)] * factor[r];
            job->log_product[row] = log_scale;
            ((REAL *)job->bound)[row] = bound;
        }
    }
}

/* The gradient by the product, which is given, or that of the logarithms of the sums, each with a weight. */
INLINE void NAME(begin_gradient)(const struct job *job, const struct NAME(layout) *l, int single, long s, vec factor,
                                 const REAL *closed, vec *grad) {
    long m = l->m, lines = l->lines;
    memset(grad, 0, l->size * sizeof(vec));
    for (long r = 0; r < l->present; r++) {
        long row = s * job->rows + l->first + r;
        const REAL *in = (const REAL *)job->grad + (job->grad ? row * lines * m : 0);
        REAL one = !job->log_sums ? 0 : closed[r] == 0 ? 0 : (REAL)job->row_weights[row] / closed[r];
        for (long i = 0; i < lines; i++)
            for (long j = 0; j < m; j++)
                ((REAL *)grad)[NAME(entry)(l, single, i, j, r)] =
                    (job->grad ? in[i * m + j] : lines == m && i != j ? 0 : one) * factor[r];
    }
}

/* Adds to the gradients of a link's cores those of a matrix that is their sum with these weights. */
INLINE void NAME(add_to_cores)(long m, long components, const vec *weights, const vec *by_matrix, vec *transposed,
                               REAL *lines, REAL *by_cores, int add) {
    for (long x = 0; x < m * m; x += LANES) NAME(transpose)(by_matrix + x, transposed + x);
    NAME(write_lines)(weights, LANES, components, lines);
    NAME(grad_cores)(m * m, components, lines, transposed, by_cores, add);
}

/* The gradients of a link from that of the product after it, which becomes that of the product before it. */
INLINE void NAME(link_gradient)(const struct job *job, const struct NAME(layout) *l, int single, long link_number,
                                const vec *before, const vec *link, const vec *weights, struct NAME(scratch) *at,
                                REAL *grad_cores, int add) {
    long m = l->m, line = l->line, components = job->components;
    const REAL *cores = (const REAL *)job->cores + link_number * components * m * m;
    REAL *of_cores = grad_cores ? grad_cores + link_number * components * m * m : NULL;
    REAL *of_weights = job->grad_weights
                           ? (REAL *)job->grad_weights + (link_number * job->rows + l->first) * components : NULL;
    vec *grad_link = at->grad_link;
    if (before) {
        if (single) {
            NAME(product_of_row)(m, line, l->lines, (const REAL *)before, 1, line * LANES, at->grad, line, grad_link);
            memset(at->transposed, 0, l->size_of_link * sizeof(vec));
            for (long i = 0; i < m; i++)
                for (long j = 0; j < m; j++)
                    ((REAL *)at->transposed)[j * line * LANES + i] = ((const REAL *)link)[i * line * LANES + j];
            NAME(product_of_row)(l->lines, line, m, (const REAL *)at->grad, line * LANES, 1, at->transposed, line,
                                 at->spare);
        } else {
            NAME(product)(m, m, l->lines, before, 1, line, at->grad, line, 1, grad_link, m);
            NAME(product)(l->lines, m, m, at->grad, line, 1, link, 1, line, at->spare, line);
        }
        vec *swapped = at->grad;
        at->grad = at->spare, at->spare = swapped;
    } else
        for (long i = 0; i < m; i++)
            memcpy(grad_link + i * (single ? line : m), at->grad + i * line, (single ? line : m) * sizeof(vec));
    if (single) {
        NAME(gradients_of_row)(m, line, components, grad_link, weights, cores, of_weights, of_cores, add);
        return;
    }
    if (of_weights) {
        vec *sums = at->grad_weights;
        NAME(grad_weights)(m * m, components, grad_link, cores, sums);
        for (long k = 0; k < components; k++) sums[k] *= weights[k];
        NAME(write_lines)(sums, l->present, components, of_weights);
    }
    if (of_cores)
        NAME(add_to_cores)(m, components, weights, grad_link, at->transposed, (REAL *)(at->grad_weights + components),
                           of_cores, add);
}

/* Everything that is asked of some rows in a segment. */
INLINE void NAME(rows)(const struct job *job, long s, long first, long present, int single, vec *memory,
                       REAL *grad_cores, int add) {
    struct NAME(layout) l = NAME(layout_of)(job, first, present, single);
    struct NAME(scratch) at;
    NAME(lay_out)(job, &at, memory);
    struct NAME(scale) scale = {0};
    for (int r = 0; r < LANES; r++) scale.mantissa[r] = 1;
    long begin = s * segment_length(job), count = segment_end(job, s) - begin, part = job->part ? job->part : count;
    /* A train starts from ones, a ring from its first matrix. */
    for (long j = 0; l.lines < l.m && j < l.m; j++)
        for (long r = 0; r < LANES; r++) {
            if (single && r) break;
            ((REAL *)at.ones)[NAME(entry)(&l, single, 0, j, r)] = 1;
        }
    for (long x = l.m; l.lines < l.m && single && x < l.line * LANES; x++) ((REAL *)at.ones)[x] = 0;
    const vec *first_start = l.lines < l.m ? at.ones : NULL, *product = first_start;
    long last = (count - 1) / part * part;
    for (long t = 0; t < count; t += part) {
        if (t) {
            vec *kept = at.starts + (t / part - 1) * l.size;
            memcpy(kept, product, l.size * sizeof(vec));
            product = kept;
        }
        int keep = job->part && t == last;
        product = NAME(go_on)(job, &l, single, s, t, count - t < part ? count - t : part, product, keep, &scale, &at);
    }
    REAL closed[LANES] = {0};
    vec factor = at.factors[(count - 1) / job->rescaled];
    NAME(write_product)(job, &l, single, s, product, at.bound, factor, &scale, closed);
    if (!job->part) return;
    NAME(begin_gradient)(job, &l, single, s, factor, closed, at.grad);
    for (long t = last; t >= 0; t -= part) {
        long links = count - t < part ? count - t : part;
        const vec *start = t ? at.starts + (t / part - 1) * l.size : first_start;
        if (t < last) NAME(go_on)(job, &l, single, s, t, links, start, 1, NULL, &at);
        for (long i = links - 1; i >= 0; i--)
            NAME(link_gradient)(job, &l, single, begin + t + i, NAME(before)(&l, &at, start, i),
                                at.links + i * l.size_of_link, at.weights + i * job->components, &at, grad_cores, add);
    }
}

/* Where so few rows are left that one after the other is faster: with neighbouring entries in a vector, few are idle. */
static TARGET void NAME(group)(const struct job *job, long s, long group, void *memory, void *grad_cores, int add) {
    long first = group * LANES, present = job->rows - first < LANES ? job->rows - first : LANES;
    if (2 * present * ceil_div(job->rank, LANES) > job->rank)
        NAME(rows)(job, s, first, present, 0, memory, grad_cores, add);
    else
        for (long r = 0; r < present; r++) NAME(rows)(job, s, first + r, 1, 1, memory, grad_cores, add || r);
}

static long NAME(scratch_size)(const struct job *job) {
    struct NAME(scratch) at;
    return NAME(lay_out)(job, &at, NULL) * sizeof(vec);
}

/* log N(value; component) of every component, and zero where the value is missing, for the variables from begin to end. */
static TARGET void NAME(normal)(const struct normals *d, long begin, long end) {
    for (long j = begin; j < end; j++) {
        const REAL *loc = (const REAL *)d->loc + j * d->components, *inverse = (const REAL *)d->inverse + j * d->components;
        const REAL *constant = (const REAL *)d->constant + j * d->components;
        for (long row = j * d->rows; row < (j + 1) * d->rows; row++) {
            REAL value = ((const REAL *)d->value)[row], *out = (REAL *)d->log_prob + row * d->components;
            if (value != value)
                memset(out, 0, d->components * sizeof(REAL));
            else
                for (long k = 0; k < d->components; k++) {
                    REAL z = (value - loc[k]) * inverse[k];
                    out[k] = (REAL)-0.5 * z * z - constant[k];
                }
        }
    }
}

/* The gradients of that, added up in double precision. */
static TARGET void NAME(normal_gradients)(const struct normals *d, long begin, long end) {
    enum { ROWS = 64, AT_ONCE = 16 };
    for (long j = begin; j < end; j++) {
        for (long k = 0; k < d->components; k += AT_ONCE) {
            const long at = j * d->components + k;
            const REAL *loc = (const REAL *)d->loc + at, *inverse = (const REAL *)d->inverse + at;
            int count = d->components - k < AT_ONCE ? d->components - k : AT_ONCE;
            double of_loc[AT_ONCE] = {0}, of_log_scale[AT_ONCE] = {0};
            for (long first = 0; first < d->rows; first += ROWS) {
                REAL by_loc[AT_ONCE] = {0}, by_log_scale[AT_ONCE] = {0};
                for (long b = first; b < d->rows && b < first + ROWS; b++) {
                    long row = j * d->rows + b;
                    REAL value = ((const REAL *)d->value)[row], sum = 0, products[AT_ONCE];
                    const REAL *grad = (const REAL *)d->log_prob + row * d->components + k;
                    REAL *of_value = (REAL *)d->grad_value + row;
                    if (!k) *of_value = 0;
                    if (value != value) continue;
                    for (int i = 0; i < count; i++) {
                        REAL z = (value - loc[i]) * inverse[i], by_z = grad[i] * z;
                        products[i] = by_z * inverse[i];
                        by_loc[i] += products[i];
                        by_log_scale[i] += by_z * z - grad[i];
                    }
                    for (int i = 0; i < count; i++) sum += products[i];
                    *of_value -= sum;
                }
                for (int i = 0; i < count; i++) of_loc[i] += by_loc[i], of_log_scale[i] += by_log_scale[i];
            }
            for (int i = 0; i < count; i++) {
                ((REAL *)d->grad_loc)[at + i] = of_loc[i];
                ((REAL *)d->grad_log_scale)[at + i] = of_log_scale[i];
            }
        }
    }
}

/* Draws an index for every number of [0, 1): of cumulated weights, or of the products of two lines of weights. */
static TARGET void NAME(draw)(const struct draws *draws, long begin, long end) {
    long width = draws->width;
    for (long s = begin; s < end; s++) {
        const REAL *left = (const REAL *)draws->left + draws->of_left[s] * width;
        REAL uniform = ((const REAL *)draws->uniform)[s], total = 0, target;
        INTEGER index = 0; /* how many cumulated weights are not above the target */
        const REAL *right = NULL;
        if (draws->right) {
            right = (const REAL *)draws->right + draws->of_right[s] * width;
            for (long i = 0; i < width; i++) total += left[i] * right[i];
            target = uniform * total, total = 0;
            for (long i = 0; i < width; i++) total += left[i] * right[i], index += total <= target;
        } else {
            target = uniform * left[width - 1];
            for (long i = 0; i < width; i++) index += left[i] <= target;
        }
        if (index == width) /* the target was rounded up to the sum: the last index that has a weight */
            for (index--; index && (right ? left[index] * right[index] == 0 : left[index] == left[index - 1]);) index--;
        draws->index[s] = index;
    }
}

/* How many vectors a thread needs to draw bonds: the weights and the message after every link, and a link. */
static long NAME(bonds_size)(const struct bonds *d) {
    return d->links * (d->components + d->rank) + d->rank + d->rank * (d->rank | 1);
}

/* Draws the bonds of a group of rows: messages go from the last bond to the first, and then each bond is drawn in
   proportion to an entry of the link's line times the message after it. */
static TARGET void NAME(bonds)(const struct bonds *d, long group, void *memory) {
    long m = d->rank, components = d->components, first = group * LANES;
    long present = d->rows - first < LANES ? d->rows - first : LANES;
    vec *weights = memory, *messages = weights + d->links * components, *link = messages + (d->links + 1) * m;
    const REAL *cores = d->cores;
    vec *message = messages + d->links * m;
    for (long j = 0; j < m; j++)
        for (long r = 0; r < LANES; r++)
            message[j][r] = !d->first || d->first[first + (r < present ? r : present - 1)] == j;
    for (long t = d->links - 1; t >= 0; t--) {
        vec *of_link = weights + t * components, *before = messages + t * m, most = (vec){0} + (REAL)TINY;
        NAME(read_lines)((const REAL *)d->weights + (t * d->rows + first) * components, present, components, of_link);
        NAME(link)(m, components, of_link, cores + t * components * m * m, link, m | 1);
        NAME(product)(m, 1, m, link, m | 1, 1, messages + (t + 1) * m, 1, 1, before, 1);
        for (long j = 0; j < m; j++) most = SELECT(before[j] > most, before[j], most);
        for (long j = 0; j < m; j++) before[j] /= most;
    }
    REAL *sums = (REAL *)link;
    for (long r = 0; r < present; r++) {
        const REAL *uniform = (const REAL *)d->uniform + first + r;
        long long *out = d->bonds + first + r, bond = -1;
        for (long t = -1; t < d->links; t++, uniform += d->rows, out += d->rows) {
            const REAL *after = (const REAL *)messages + (t + 1) * m * LANES + r;
            if (t < 0 && d->first) {
                *out = bond = d->first[first + r];
                continue;
            }
            for (long j = 0; j < m; j++) sums[j] = t < 0;
            for (long k = 0; t >= 0 && k < components; k++) {
                const REAL *line = cores + ((t * components + k) * m + bond) * m;
                REAL weight = ((const REAL *)weights)[(t * components + k) * LANES + r];
                for (long j = 0; j < m; j++) sums[j] += weight * line[j];
            }
            REAL total = 0;
            for (long j = 0; j < m; j++) sums[j] = total += sums[j] * after[j * LANES];
            REAL target = *uniform * total;
            INTEGER index = 0;
            for (long j = 0; j < m; j++) index += sums[j] <= target;
            if (index == m)
                for (index--; index && sums[index] == sums[index - 1];) index--;
            *out = bond = index;
        }
    }
}

#include "_kernels_conditionals.h"

#undef vec
#undef bits
#undef INLINE
#undef REAL
#undef INTEGER
#undef LANES
#undef MANTISSA
#undef DEGREE
#undef LOG_TINY
#undef TINY
#undef SMALL
#undef LARGEST
#undef DOUBLE
