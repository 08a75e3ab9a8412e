/* The matrix products of _kernels.h, which keep a block of sums in registers while they go through memory. */

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

/* out[i][j] = sum_s x[i][s] y[s][j] for a block of I lines and J columns; the steps say how x and y lie. */
INLINE void NAME(product_block)(const int I, const int J, long size, const vec *x, long xi, long xs, const vec *y,
                                long ys, long yj, vec *out, long line) {
    vec sum[BLOCK][BLOCK];
    UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) sum[i][j] = (vec){0};
    for (long s = 0; s < size; s++, x += xs, y += ys)
        UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) sum[i][j] += x[i * xi] * y[j * yj];
    UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) out[i * line + j] = sum[i][j];
}

/* The same for all of `lines` lines and `columns` columns. */
static TARGET void NAME(product)(long lines, long columns, long size, const vec *x, long xi, long xs, const vec *y,
                                 long ys, long yj, vec *out, long line) {
    for (long j = 0, J; j < columns; j += J) {
        J = share(columns - j, BLOCK);
        for (long i = 0, I; i < lines; i += I) {
            I = share(lines - i, BLOCK);
#define CASE(A, B)                                                                                                     \
    case 8 * A + B:                                                                                                    \
        NAME(product_block)(A, B, size, x + i * xi, xi, xs, y + j * yj, ys, yj, out + i * line + j, line);             \
        break;
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
        if (j + 1 < J || last == LANES) { /* copies of a constant size are single instructions */
            if (add) memcpy(&before, to, sizeof(vec));
            before += sum[i][j];
            memcpy(to, &before, sizeof(vec));
        } else
            for (long x = 0; x < last; x++) to[x] = (add ? to[x] : 0) + sum[i][j][x];
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

/* The same three for a single row, whose vectors hold neighbouring entries of a line: `line` vectors, filled up with
   zeros, make a line. */

INLINE void NAME(product_of_row_block)(const int I, const int J, long size, const REAL *x, long xi, long xs,
                                       const vec *y, long line, vec *out) {
    vec sum[BLOCK][BLOCK];
    UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) sum[i][j] = (vec){0};
    for (long s = 0; s < size; s++, x += xs, y += line)
        UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) sum[i][j] += x[i * xi] * y[j];
    UNROLL for (int i = 0; i < I; i++) UNROLL for (int j = 0; j < J; j++) out[i * line + j] = sum[i][j];
}

static TARGET void NAME(product_of_row)(long lines, long columns, long size, const REAL *x, long xi, long xs,
                                        const vec *y, long line, vec *out) {
    for (long j = 0, J; j < columns; j += J) {
        J = share(columns - j, BLOCK);
        for (long i = 0, I; i < lines; i += I) {
            I = share(lines - i, BLOCK);
#define CASE(A, B)                                                                                                     \
    case 8 * A + B: NAME(product_of_row_block)(A, B, size, x + i * xi, xi, xs, y + j, line, out + i * line + j); break;
            switch (8 * I + J) { BLOCKS }
#undef CASE
        }
    }
}

static TARGET void NAME(link_of_row)(long m, long components, const vec *weights, const REAL *cores, vec *out, long line,
                                     vec *flat) {
    long size = m * m, x = 0;
    for (; x + LANES <= size; x += LANES) {
        vec sum = {0}, core;
        for (long k = 0; k < components; k++) {
            memcpy(&core, cores + k * size + x, sizeof(vec));
            sum += weights[k] * core;
        }
        flat[x / LANES] = sum;
    }
    for (; x < size; x++) {
        REAL sum = 0;
        for (long k = 0; k < components; k++) sum += weights[k][0] * cores[k * size + x];
        ((REAL *)flat)[x] = sum;
    }
    memset(out, 0, m * line * sizeof(vec));
    for (long i = 0; i < m; i++) memcpy(out + i * line, (REAL *)flat + i * m, m * sizeof(REAL));
}

static TARGET void NAME(gradients_of_row)(long m, long line, long components, vec *grad_link, const vec *weights,
                                          const REAL *cores, REAL *grad_weights, REAL *grad_cores, int add) {
    long size = m * m, whole = size / LANES * LANES;
    REAL *flat = (REAL *)grad_link;
    for (long i = 1; i < m; i++) memmove(flat + i * m, grad_link + i * line, m * sizeof(REAL));
    for (long k = 0; k < components; k++, cores += size) {
        vec total = {0}, core;
        if (grad_weights) {
            for (long x = 0; x < whole; x += LANES) {
                memcpy(&core, cores + x, sizeof(vec));
                total += grad_link[x / LANES] * core;
            }
            REAL sum = 0;
            for (int r = 0; r < LANES; r++) sum += total[r];
            for (long x = whole; x < size; x++) sum += flat[x] * cores[x];
            grad_weights[k] = sum * weights[k][0];
        }
        if (grad_cores) {
            REAL *out = grad_cores + k * size;
            for (long x = 0; x < whole; x += LANES) {
                core = weights[k] * grad_link[x / LANES];
                vec before;
                if (add) memcpy(&before, out + x, sizeof(vec)), core += before;
                memcpy(out + x, &core, sizeof(vec));
            }
            for (long x = whole; x < size; x++) out[x] = (add ? out[x] : 0) + weights[k][0] * flat[x];
        }
    }
}

#undef FIRST_HALVES
#undef LAST_HALVES
#undef BLOCK
#undef BLOCKS
#undef LINE
