/* Products of chains of matrices and their gradients on CPUs: the inner loops of kernels.py.

Many rows of a batch are worked on at once, one in each number of a vector register. The functions themselves are in
_kernels.h; here are the types and instruction sets they are made for, the threads, and the Python module. */

#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <dlfcn.h>
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* What is kept for the gradients of a group of rows: the products and matrices of the whole chain if they take no more
   bytes than this, else of so many links at a time, and the others are multiplied once more. */
enum { MOST_KEPT = 12 << 20, LINKS_KEPT = 8 };

/* The share of a sum that may have been discarded on the way: more, and it is computed again, with logarithms. */
#define MOST_DISCARDED 0x1p-13

/* The log-density of a component from which on the values are computed in double precision. */
#define FAR -1e3

/* A chain, the rows of a batch, and what is wanted, all contiguous; see kernels.py for the shapes. What is not wanted is
   NULL, and without gradients no part of the chain is kept: it has no links. */
struct job {
    long links, rows, components, rank, lines, rescaled, segments, shares, item, part;
    const void *log_weights, *log_scale, *cores, *grad;
    const double *row_weights;
    double *log_product, *log_sums;
    void *product, *bound, *grad_weights, *grad_cores, *grad_cores_of_others;
    /* In place of log-weights: values of normal variables, their components, and whether a value is so far from one that
       double precision is needed: then the work stops. */
    const void *values, *loc, *inverse, *constant;
    int *far;
    char *scratch;
    long scratch_size;
    int next;
};

/* Indices to draw: from the lines `of_left` of a table of cumulated weights, or from the products of these lines with
   the lines `of_right` of another table. */
struct draws {
    long count, width, item, shares;
    const void *left, *right, *uniform;
    const long long *of_left, *of_right;
    long long *index;
    int next;
};

/* Bonds to draw along a chain for many rows, given the first of each (which a ring ends with as well), or NULL for a
   train. */
struct bonds {
    long links, rows, components, rank, item, shares;
    const void *weights, *cores, *uniform;
    const long long *first;
    long long *bonds;
    char *scratch;
    long scratch_size;
    int next;
};

/* The distribution functions of variables given those before them, and what their gradients start from; the shapes are in
   conditionals.py. Where all samples are of one row of evidence, the gradients by what is after it are of their sum. */
struct conditionals {
    long links, rows, evidence, components, rank, lines, item, shares;
    const void *cores, *scale, *weights, *cdf, *density, *slope, *after, *by_value;
    const char *is_open;
    void *by_cores, *by_cores_of_others, *by_weights, *by_cdf, *by_after;
    char *scratch;
    long scratch_size;
    int next;
};

/* Normal components of some variables and values of each; with grad_value the gradients are wanted, and log_prob holds
   the gradient by it. */
struct normals {
    long variables, rows, components, item, shares;
    const void *value, *loc, *inverse, *constant;
    void *log_prob, *grad_value, *grad_loc, *grad_log_scale;
    int next;
};

static long ceil_div(long a, long b) { return (a + b - 1) / b; }

/* The size of the next part of what is left, in parts that are as equal as can be. */
static long share(long rest, long most) { return ceil_div(rest, ceil_div(rest, most)); }

static long segment_length(const struct job *job) { return ceil_div(job->links, job->segments); }

static long segment_end(const struct job *job, long s) {
    long end = (s + 1) * segment_length(job);
    return end < job->links ? end : job->links;
}

static const double inverse_factorial[] = {1., 1., 1. / 2, 1. / 6, 1. / 24, 1. / 120, 1. / 720, 1. / 5040, 1. / 40320,
    1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800};

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define SELECT(mask, a, b) ((vec)(((bits)(a) & (bits)(mask)) | ((bits)(b) & ~(bits)(mask))))
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (bits){__VA_ARGS__})
#endif

/* The functions of a set of instructions, for float and for double. */
struct functions {
    int bytes;
    void (*group[2])(const struct job *, long, long, void *, void *, int);
    long (*scratch_size[2])(const struct job *);
    void (*draw[2])(const struct draws *, long, long);
    void (*bonds[2])(const struct bonds *, long, void *);
    long (*bonds_size[2])(const struct bonds *);
    void (*conditionals[2])(const struct conditionals *, long, void *, void *, int);
    long (*conditionals_size[2])(const struct conditionals *);
    void (*normal[2])(const struct normals *, long, long);
    void (*normal_gradients[2])(const struct normals *, long, long);
};

#define BYTES 16
#define TARGET
#define DOUBLE 0
#define NAME(x) x##_float_plain
#include "_kernels.h"
#define DOUBLE 1
#undef NAME
#define NAME(x) x##_double_plain
#include "_kernels.h"
#define FUNCTIONS(set)                                                                                                 \
    {BYTES, {group_float_##set, group_double_##set}, {scratch_size_float_##set, scratch_size_double_##set}, \
     {draw_float_##set, draw_double_##set}, {bonds_float_##set, bonds_double_##set}, \
     {bonds_size_float_##set, bonds_size_double_##set}, {conditionals_float_##set, conditionals_double_##set}, \
     {conditionals_size_float_##set, conditionals_size_double_##set}, {normal_float_##set, normal_double_##set}, \
     {normal_gradients_float_##set, normal_gradients_double_##set}}
static const struct functions plain = FUNCTIONS(plain);

#if defined(__x86_64__)
#undef BYTES
#undef TARGET
#undef NAME
#define BYTES 32
#define TARGET __attribute__((target("avx2,fma")))
#define DOUBLE 0
#define NAME(x) x##_float_avx2
#include "_kernels.h"
#define DOUBLE 1
#undef NAME
#define NAME(x) x##_double_avx2
#include "_kernels.h"
static const struct functions avx2 = FUNCTIONS(avx2);

#undef BYTES
#undef TARGET
#undef NAME
#define BYTES 64
#define TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma")))
#define DOUBLE 0
#define NAME(x) x##_float_avx512
#include "_kernels.h"
#define DOUBLE 1
#undef NAME
#define NAME(x) x##_double_avx512
#include "_kernels.h"
static const struct functions avx512 = FUNCTIONS(avx512);
#endif

static const struct functions *chosen = &plain;
static void (*parallel)(void (*)(void *), void *, unsigned, unsigned);

/* Picks the instructions that the processor has; GOOGOL_KERNELS may ask for fewer. */
static void choose(void) {
#if defined(__x86_64__)
    const char *wanted = getenv("GOOGOL_KERNELS");
    if (wanted && !strcmp(wanted, "plain")) return;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) chosen = &avx2;
    if (wanted && !strcmp(wanted, "avx2")) return;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        chosen = &avx512;
#endif
}

/* Works on a share of the rows in one segment after the other, until none is left to take. The same share always adds
   to the same sum of gradients, so that a result does not depend on which thread came first. */
static void work(void *argument) {
    struct job *job = argument;
    long groups = ceil_div(job->rows, chosen->bytes / job->item), is_double = job->item == 8, at;
    while ((at = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED)) < job->shares * job->segments) {
        long part = at % job->shares, s = at / job->shares;
        long begin = groups * part / job->shares, end = groups * (part + 1) / job->shares;
        char *scratch = job->scratch + at * job->scratch_size, *grad_cores = job->grad_cores;
        size_t size = job->links * job->components * job->rank * job->rank * job->item;
        if (grad_cores && part) grad_cores = (char *)job->grad_cores_of_others + (part - 1) * size;
        if (grad_cores && begin == end) memset(grad_cores, 0, size);
        for (long group = begin; group < end && !(job->far && __atomic_load_n(job->far, __ATOMIC_RELAXED)); group++)
            chosen->group[is_double](job, s, group, scratch, grad_cores, group > begin);
    }
}

static void draw_share(void *argument) {
    struct draws *draws = argument;
    long at;
    while ((at = __atomic_fetch_add(&draws->next, 1, __ATOMIC_RELAXED)) < draws->shares)
        chosen->draw[draws->item == 8](draws, draws->count * at / draws->shares, draws->count * (at + 1) / draws->shares);
}

static void bonds_share(void *argument) {
    struct bonds *bonds = argument;
    long groups = ceil_div(bonds->rows, chosen->bytes / bonds->item), at;
    while ((at = __atomic_fetch_add(&bonds->next, 1, __ATOMIC_RELAXED)) < bonds->shares)
        for (long group = groups * at / bonds->shares; group < groups * (at + 1) / bonds->shares; group++)
            chosen->bonds[bonds->item == 8](bonds, group, bonds->scratch + at * bonds->scratch_size);
}

/* As `work`: a share of the groups has its own sum of gradients by the cores. */
static void conditionals_share(void *argument) {
    struct conditionals *all = argument;
    long groups = ceil_div(all->rows, chosen->bytes / all->item), at;
    size_t size = all->links * all->components * all->rank * all->rank * all->item;
    while ((at = __atomic_fetch_add(&all->next, 1, __ATOMIC_RELAXED)) < all->shares) {
        long begin = groups * at / all->shares, end = groups * (at + 1) / all->shares;
        char *by_cores = at ? (char *)all->by_cores_of_others + (at - 1) * size : all->by_cores;
        for (long group = begin; group < end; group++)
            chosen->conditionals[all->item == 8](all, group, all->scratch + at * all->scratch_size, by_cores,
                                                 group > begin);
    }
}

static void normal_share(void *argument) {
    struct normals *normals = argument;
    long at, all = normals->variables, shares = normals->shares, is_double = normals->item == 8;
    while ((at = __atomic_fetch_add(&normals->next, 1, __ATOMIC_RELAXED)) < shares)
        (normals->grad_loc ? chosen->normal_gradients : chosen->normal)[is_double](normals, all * at / shares,
                                                                                    all * (at + 1) / shares);
}

struct task {
    void (*work)(void *);
    void *job;
};

static void *work_in_thread(void *argument) {
    struct task *task = argument;
    task->work(task->job);
    return NULL;
}

/* Runs a job in PyTorch's own pool of threads if that can be found: its idle threads spin for a while, and threads
   beside them would have to share the processor with them. */
static void run(void (*work)(void *), void *job, long threads) {
    if (threads > 1 && parallel) {
        parallel(work, job, (unsigned)threads, 0);
        return;
    }
    struct task task = {work, job};
    pthread_t *others = calloc(threads, sizeof(pthread_t));
    long started = 0;
    while (others && started < threads - 1 && !pthread_create(others + started, NULL, work_in_thread, &task)) started++;
    work(job);
    for (long i = 0; i < started; i++) pthread_join(others[i], NULL);
    free(others);
}

/* The same with memory of so many bytes for each share, at an address that the job knows; what a function returns. */
static PyObject *run_with_scratch(void (*work)(void *), void *job, char **scratch, long size, long shares) {
    if (posix_memalign((void **)scratch, 64, shares * size)) return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS
    run(work, job, shares);
    Py_END_ALLOW_THREADS
    free(*scratch);
    Py_RETURN_NONE;
}

/* Reads the sizes and addresses that a function takes. */
static int read_arguments(PyObject *args, long **sizes, int count, const void **addresses, int address_count) {
    if (PyTuple_Size(args) != count + address_count) {
        PyErr_Format(PyExc_TypeError, "expected %d sizes and %d addresses", count, address_count);
        return 0;
    }
    for (int i = 0; i < count; i++) *sizes[i] = PyLong_AsLong(PyTuple_GetItem(args, i));
    for (int i = 0; i < address_count; i++) addresses[i] = PyLong_AsVoidPtr(PyTuple_GetItem(args, count + i));
    return !PyErr_Occurred();
}

static PyObject *draw(PyObject *self, PyObject *args) {
    struct draws draws = {0};
    long *sizes[] = {&draws.item, &draws.count, &draws.width, &draws.shares};
    const void *a[6];
    if (!read_arguments(args, sizes, 4, a, 6)) return NULL;
    draws.left = a[0], draws.of_left = a[1], draws.right = a[2], draws.of_right = a[3];
    draws.uniform = a[4], draws.index = (void *)a[5];
    Py_BEGIN_ALLOW_THREADS
    run(draw_share, &draws, draws.shares);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *bonds(PyObject *self, PyObject *args) {
    struct bonds bonds = {0};
    long *sizes[] = {&bonds.item, &bonds.links, &bonds.rows, &bonds.components, &bonds.rank, &bonds.shares};
    const void *a[5];
    if (!read_arguments(args, sizes, 6, a, 5)) return NULL;
    bonds.weights = a[0], bonds.cores = a[1], bonds.first = a[2], bonds.uniform = a[3], bonds.bonds = (void *)a[4];
    bonds.scratch_size = chosen->bonds_size[bonds.item == 8](&bonds) * chosen->bytes;
    return run_with_scratch(bonds_share, &bonds, &bonds.scratch, bonds.scratch_size, bonds.shares);
}

static PyObject *conditionals(PyObject *self, PyObject *args) {
    struct conditionals all = {0};
    long *sizes[] = {&all.item, &all.links, &all.rows, &all.evidence, &all.components, &all.rank, &all.lines, &all.shares};
    const void *a[14];
    if (!read_arguments(args, sizes, 8, a, 14)) return NULL;
    all.cores = a[0], all.scale = a[1], all.weights = a[2], all.cdf = a[3], all.density = a[4], all.slope = a[5];
    all.after = a[6], all.is_open = a[7], all.by_value = a[8], all.by_cores = (void *)a[9];
    all.by_cores_of_others = (void *)a[10], all.by_weights = (void *)a[11], all.by_cdf = (void *)a[12];
    all.by_after = (void *)a[13];
    all.scratch_size = chosen->conditionals_size[all.item == 8](&all) * chosen->bytes;
    return run_with_scratch(conditionals_share, &all, &all.scratch, all.scratch_size, all.shares);
}

static PyObject *multiply(PyObject *self, PyObject *args) {
    struct job job = {0};
    long *sizes[] = {&job.item,  &job.links,    &job.rows,     &job.components, &job.rank,
                     &job.lines, &job.rescaled, &job.segments, &job.shares};
    const void *a[17];
    if (!read_arguments(args, sizes, 9, a, 17)) return NULL;
    job.log_weights = a[0], job.log_scale = a[1], job.cores = a[2], job.grad = a[3], job.row_weights = a[4];
    job.product = (void *)a[5], job.log_product = (void *)a[6], job.bound = (void *)a[7], job.log_sums = (void *)a[8];
    job.grad_weights = (void *)a[9], job.grad_cores = (void *)a[10], job.grad_cores_of_others = (void *)a[11];
    job.values = a[12], job.loc = a[13], job.inverse = a[14], job.constant = a[15], job.far = (void *)a[16];
    if (job.grad || job.row_weights) {
        job.part = segment_length(&job);
        if (job.part * (job.lines + job.rank) * (job.rank | 1) * chosen->bytes > MOST_KEPT) job.part = LINKS_KEPT;
    }
    long jobs = job.shares * job.segments;
    job.scratch_size = ceil_div(chosen->scratch_size[job.item == 8](&job), 64) * 64;
    return run_with_scratch(work, &job, &job.scratch, job.scratch_size, jobs);
}

static PyObject *normal(PyObject *self, PyObject *args) {
    struct normals normals = {0};
    long *sizes[] = {&normals.item, &normals.variables, &normals.rows, &normals.components, &normals.shares};
    const void *a[8];
    if (!read_arguments(args, sizes, 5, a, 8)) return NULL;
    normals.value = a[0], normals.loc = a[1], normals.inverse = a[2], normals.constant = a[3];
    normals.log_prob = (void *)a[4], normals.grad_value = (void *)a[5];
    normals.grad_loc = (void *)a[6], normals.grad_log_scale = (void *)a[7];
    Py_BEGIN_ALLOW_THREADS
    run(normal_share, &normals, normals.shares);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"multiply", multiply, METH_VARARGS, "Products of chains, their sums and gradients."},
    {"draw", draw, METH_VARARGS, "Indices drawn in proportion to weights."},
    {"bonds", bonds, METH_VARARGS, "Bonds drawn along chains."},
    {"conditionals", conditionals, METH_VARARGS, "Gradients of conditional distribution functions."},
    {"normal", normal, METH_VARARGS, "Log-densities of normal components, and their gradients."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernels", NULL, -1, methods};

PyMODINIT_FUNC PyInit__kernels(void) {
    choose();
    parallel = (void (*)(void (*)(void *), void *, unsigned, unsigned))dlsym(RTLD_DEFAULT, "GOMP_parallel");
    PyObject *made = PyModule_Create(&module);
    if (made && PyModule_AddIntConstant(made, "BYTES", chosen->bytes)) return NULL;
    return made;
}
