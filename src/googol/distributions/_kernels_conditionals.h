/* The gradients of the distribution functions of variables given those before them, for LANES samples side by side. The
   names are those of conditionals.py. */

struct NAME(conditionals) {
    vec *products, *links, *scales, *weights, *passed, *next, *other, *after, *through, *around, *tilted, *transposed,
        *of_components, *by_after;
};

static long NAME(lay_out_conditionals)(const struct conditionals *d, struct NAME(conditionals) *at, vec *memory) {
    long n = d->links, m = d->rank, line = m | 1, size = d->lines * line, used = 0;
    long whole = ceil_div(m * m, LANES) * LANES;
#define PLACE(name, count) at->name = memory + used, used += (count)
    PLACE(products, n * size);
    PLACE(links, n * m * line);
    PLACE(scales, n);
    PLACE(weights, n * d->components);
    PLACE(passed, size);
    PLACE(next, size);
    PLACE(other, size);
    PLACE(after, m * d->lines);
    PLACE(through, whole);
    PLACE(around, whole);
    PLACE(tilted, whole);
    PLACE(transposed, whole);
    PLACE(of_components, 7 * d->components);
    PLACE(by_after, m * d->lines);
#undef PLACE
    return used;
}

static long NAME(conditionals_size)(const struct conditionals *d) {
    struct NAME(conditionals) at;
    return NAME(lay_out_conditionals)(d, &at, NULL);
}

/* The product of the links before each, and what each step was divided by. */
INLINE void NAME(products_before)(const struct conditionals *d, struct NAME(conditionals) *at, long first, long present) {
    long m = d->rank, lines = d->lines, line = m | 1, components = d->components;
    for (long i = 0; i < lines; i++)
        for (long j = 0; j < m; j++) at->products[i * line + j] = (vec){0} + (REAL)(lines < m || i == j);
    for (long t = 0; t < d->links; t++) {
        vec *weights = at->weights + t * components, *link = at->links + t * m * line, most = (vec){0} + (REAL)TINY;
        const vec *product = at->products + t * lines * line;
        NAME(read_lines)((const REAL *)d->weights + (t * d->rows + first) * components, present, components, weights);
        NAME(link)(m, components, weights, (const REAL *)d->cores + t * components * m * m, link, line);
        if (t + 1 == d->links) return;
        vec *next = at->products + (t + 1) * lines * line;
        NAME(product)(lines, m, m, product, line, 1, link, line, 1, next, line);
        for (long i = 0; i < lines; i++)
            for (long j = 0; j < m; j++) most = SELECT(next[i * line + j] > most, next[i * line + j], most);
        at->scales[t] = most;
        for (long i = 0; i < lines; i++)
            for (long j = 0; j < m; j++) next[i * line + j] /= most;
    }
}

/* What is after a variable, which may be the same for all samples. */
INLINE void NAME(read_after)(const struct conditionals *d, long t, long first, long present, vec *after) {
    long size = d->rank * d->lines;
    const REAL *in = (const REAL *)d->after + t * d->evidence * size;
    for (long r = 0; d->evidence > 1 && r < LANES; r++) {
        const REAL *row = in + (first + (r < present ? r : present - 1)) % d->evidence * size;
        for (long x = 0; x < size; x++) ((REAL *)after)[x * LANES + r] = row[x];
    }
    for (long x = 0; d->evidence == 1 && x < size; x++) after[x] = (vec){0} + in[x];
}

INLINE void NAME(write_by_after)(const struct conditionals *d, long t, long first, long present, const vec *by_after) {
    long size = d->rank * d->lines;
    REAL *out = d->by_after;
    if (d->evidence > 1) {
        NAME(write_lines)(by_after, present, size, out + (t * d->rows + first) * size);
        return;
    }
    out += (t * ceil_div(d->rows, LANES) + first / LANES) * size;
    for (long x = 0; x < size; x++) {
        REAL sum = 0;
        for (int r = 0; r < LANES; r++) sum += by_after[x][r];
        out[x] = sum;
    }
}

static TARGET void NAME(conditionals)(const struct conditionals *d, long group, void *memory, void *by_cores, int add) {
    long m = d->rank, lines = d->lines, line = m | 1, components = d->components, first = group * LANES;
    long present = d->rows - first < LANES ? d->rows - first : LANES, all_cores = components * m * m;
    struct NAME(conditionals) at;
    NAME(lay_out_conditionals)(d, &at, memory);
    NAME(products_before)(d, &at, first, present);
    vec *by_weights = at.of_components, *shares = by_weights + components, *cdf = shares + components;
    vec *density = cdf + components, *slope = density + components, *spread = slope + components;
    REAL *rows_first = (REAL *)(spread + components);
    for (long x = 0; x < lines * line; x++) at.passed[x] = (vec){0};
    for (long t = d->links - 1; t >= 0; t--) {
        const REAL *cores = (const REAL *)d->cores + t * all_cores, *scale = (const REAL *)d->scale + t * components;
        const vec *before = at.products + t * lines * line, *link = at.links + t * m * line;
        const vec *weights = at.weights + t * components;
        REAL *of_cores = (REAL *)by_cores + t * all_cores;
        long place = t * d->rows + first, of_samples = place * components;
        int any = 0;
        for (long r = 0; r < present; r++) any |= d->is_open[place + r];

        /* Through the links after this one. */
        for (long x = 0; t + 1 < d->links && x < lines * line; x++) at.passed[x] /= at.scales[t];
        NAME(product)(m, m, lines, before, 1, line, at.passed, line, 1, at.through, m);
        NAME(grad_weights)(m * m, components, at.through, cores, by_weights);
        NAME(write_lines)(by_weights, present, components, (REAL *)d->by_weights + of_samples);
        NAME(add_to_cores)(m, components, weights, at.through, at.transposed, rows_first, of_cores, add);
        if (t) NAME(product)(lines, m, m, at.passed, line, 1, link, 1, line, at.next, line);

        /* Through its own distribution function. */
        if (any) {
            vec total = {0}, below = {0}, dense = {0}, moved = {0}, factor = {0};
            NAME(read_after)(d, t, first, present, at.after);
            NAME(read_lines)((const REAL *)d->cdf + of_samples, present, components, cdf);
            NAME(read_lines)((const REAL *)d->density + of_samples, present, components, density);
            NAME(read_lines)((const REAL *)d->slope + of_samples, present, components, slope);
            NAME(product)(m, m, lines, before, 1, line, at.after, 1, lines, at.around, m);
            NAME(grad_weights)(m * m, components, at.around, cores, shares);
            for (long k = 0; k < components; k++) {
                shares[k] *= scale[k];
                total += shares[k];
            }
            total = SELECT(total > (REAL)TINY, total, (vec){0} + (REAL)TINY);
            for (long k = 0; k < components; k++) {
                shares[k] /= total;
                below += shares[k] * cdf[k];
                dense += shares[k] * density[k];
                moved += by_weights[k] * weights[k] * slope[k];
            }
            dense = SELECT(dense > (REAL)TINY, dense, (vec){0} + (REAL)TINY);
            for (long r = 0; r < present; r++)
                if (d->is_open[place + r]) factor[r] = -(((const REAL *)d->by_value)[place + r] + moved[r]) / dense[r];
            for (long k = 0; k < components; k++) {
                shares[k] *= factor;
                spread[k] = factor * (cdf[k] - below) * scale[k] / total;
            }
            NAME(write_lines)(shares, present, components, (REAL *)d->by_cdf + of_samples);
            NAME(add_to_cores)(m, components, spread, at.around, at.transposed, rows_first, of_cores, 1);
            NAME(link)(m, components, spread, cores, at.tilted, m);
            NAME(product)(m, lines, m, at.tilted, 1, m, before, 1, line, at.by_after, lines);
            NAME(product)(lines, m, m, at.after, 1, lines, at.tilted, 1, m, at.other, line);
            for (long i = 0; i < lines; i++)
                for (long j = 0; t && j < m; j++) at.next[i * line + j] += at.other[i * line + j];
        } else {
            memset((REAL *)d->by_cdf + of_samples, 0, present * components * sizeof(REAL));
            memset(at.by_after, 0, m * lines * sizeof(vec));
        }
        NAME(write_by_after)(d, t, first, present, at.by_after);
        vec *swapped = at.passed;
        at.passed = at.next, at.next = swapped;
    }
}
