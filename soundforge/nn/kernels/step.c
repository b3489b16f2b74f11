/* One step of the decoder language model: all layers and heads in one call, shared by a team of threads.

   Built by `build.py` with the local C compiler and called through ctypes (`binding.py` mirrors the structs). Every
   number is computed by one thread in a fixed order: results do not depend on the number of threads, and those of a
   row do not depend on the rows beside it. */

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#include "attention.h"
#include "convolution.h"
#include "layers.h"
#include "pool.h"

#define INTERFACE 2

typedef struct { const float *weight, *bias; } norm;

typedef struct {
    norm norm1;
    matrix in_proj, out_proj;
    norm norm_cross;
    matrix cross_q, cross_out;
    norm norm2;
    matrix linear1, linear2;
} layer;

typedef struct {
    int width, heads, head_width, ffn, layers, outputs;
    float eps;
    const layer *layer;
    norm out_norm;
    matrix head;
} model;

typedef struct { /* of one layer; entries of the other kind of cache are NULL */
    float *floats;           /* [2, B, H, S, D] */
    uint8_t *keys;           /* 8-bit, see attention.h */
    int8_t *values;
    float *key_scales, *value_scales;
    const float *cross;      /* [2, B, H, L, D] or NULL */
} cache;

typedef struct {
    int batch, columns, position, capacity; /* columns: new positions of each row; capacity as allocated */
    int cross_length;
    const uint8_t *cross_seen; /* [B, L] or NULL */
    const cache *cache;
} state;

typedef struct {
    const model *m;
    const state *s;
    const layer *l;
    const cache *c;
    int rows, score_stride;
    float *x, *normed, *wide, *mixed, *hidden, *scores, *logits;
    int8_t *bytes;
    float *scales;
    int32_t *sums;
    /* of the phase that runs */
    const matrix *matrix;
    inputs in;
    float *out;
    int out_stride, add, per_item, last_only;
    const norm *norm;
} step;

/* --- phases ----------------------------------------------------------------------------------------------------- */

static void normalise(const float *x, const norm *n, int width, float eps, float *out) {
    float mean = 0.0f, square = 0.0f;
    int i = 0;
    f32x16 total = all_f32(0.0f);
    for (; i + LANES <= width; i += LANES) total += load_f32(x + i);
    mean = sum_lanes(total);
    for (; i < width; i++) mean += x[i];
    mean /= (float)width;
    total = all_f32(0.0f);
    for (i = 0; i + LANES <= width; i += LANES) {
        f32x16 d = load_f32(x + i) - mean;
        total += d * d;
    }
    square = sum_lanes(total);
    for (; i < width; i++) square += (x[i] - mean) * (x[i] - mean);
    const float inverse = 1.0f / __builtin_sqrtf(square / (float)width + eps);
    for (i = 0; i + LANES <= width; i += LANES)
        store_f32(out + i, (load_f32(x + i) - mean) * inverse * load_f32(n->weight + i) + load_f32(n->bias + i));
    for (; i < width; i++) out[i] = (x[i] - mean) * inverse * n->weight[i] + n->bias[i];
}

INLINE int is_integer(const matrix *m) { return m->kind == INT8 || m->kind == INT4; }

/* Bytes of a part of a row that begins at `from`, a multiple of GROUP. */
static void round_part(step *t, const float *x, int row, int from, int width) {
    int padded = t->in.padded, groups = t->in.groups;
    round_row(x + from, width, t->matrix->kind == INT4 ? 8 : 128, t->bytes + (size_t)row * padded + from,
              t->scales + (size_t)row * groups + from / GROUP, t->sums + (size_t)row * groups + from / GROUP);
}

static void norm_item(void *job, int row, int thread) {
    step *t = job;
    (void)thread;
    float *to = t->normed + (size_t)row * t->m->width;
    const int from = t->last_only ? (row + 1) * t->s->columns - 1 : row;
    normalise(t->x + (size_t)from * t->m->width, t->norm, t->m->width, t->m->eps, to);
    if (is_integer(t->matrix)) round_part(t, to, row, 0, t->m->width);
}

static void round_item(void *job, int row, int thread) {
    step *t = job;
    (void)thread;
    round_part(t, t->mixed + (size_t)row * t->m->width, row, 0, t->m->width);
}

#define GELU_PART 512

static void gelu_item(void *job, int item, int thread) {
    step *t = job;
    (void)thread;
    const int width = t->m->ffn, parts = (width + GELU_PART - 1) / GELU_PART;
    const int row = item / parts, from = item % parts * GELU_PART;
    const int n = width - from < GELU_PART ? width - from : GELU_PART;
    float *x = t->hidden + (size_t)row * width + from;
    int i = 0;
    for (; i + LANES <= n; i += LANES) store_f32(x + i, gelu_f32(load_f32(x + i)));
    for (; i < n; i++) x[i] = gelu_f32(all_f32(x[i]))[0];
    if (is_integer(t->matrix)) round_part(t, x - from, row, from, n);
}

static void product_item(void *job, int item, int thread) {
    step *t = job;
    (void)thread;
    const int tiles = (t->matrix->out + LANES - 1) / LANES;
    int end = (item + 1) * t->per_item;
    for (int tile = item * t->per_item; tile < end && tile < tiles; tile++)
        product_tile(t->matrix, tile, &t->in, t->rows, t->out, t->out_stride, t->add);
}

static void attend_item(void *job, int item, int thread) {
    step *t = job;
    const model *m = t->m;
    const state *s = t->s;
    const int b = item / m->heads, h = item % m->heads, width = m->head_width, n = s->columns;
    const size_t place = (size_t)b * m->heads + h, whole = (size_t)s->batch * m->heads;
    float *scores = t->scores + (size_t)thread * t->score_stride;
    const size_t wide = (size_t)wide_head(width), at = place * s->capacity;
    float out[WIDEST_HEAD];
    for (int j = 0; j < n; j++) {
        const float *qkv = t->wide + (size_t)(b * n + j) * 3 * m->width + h * width;
        const float *key = qkv + m->width, *value = qkv + 2 * m->width;
        const int position = s->position + j;
        if (t->c->floats) {
            float *keys = t->c->floats + at * width, *values = keys + whole * s->capacity * width;
            memcpy(keys + (size_t)position * width, key, sizeof(float) * (size_t)width);
            memcpy(values + (size_t)position * width, value, sizeof(float) * (size_t)width);
            attend_f32(qkv, keys, values, NULL, position + 1, width, scores, out);
        } else {
            keep_i8(key, value, width, position, t->c->keys + at * wide, t->c->values + at * wide,
                    t->c->key_scales + at, t->c->value_scales + at);
            attend_i8(qkv, t->c->keys + at * wide, t->c->values + at * wide, t->c->key_scales + at,
                      t->c->value_scales + at, position + 1, width, scores, out);
        }
        memcpy(t->mixed + (size_t)(b * n + j) * m->width + h * width, out, sizeof(float) * (size_t)width);
    }
}

static void cross_item(void *job, int item, int thread) {
    step *t = job;
    const model *m = t->m;
    const state *s = t->s;
    const int b = item / m->heads, h = item % m->heads, width = m->head_width, length = s->cross_length;
    const size_t place = (size_t)b * m->heads + h, whole = (size_t)s->batch * m->heads;
    const float *keys = t->c->cross + place * length * width, *values = keys + whole * length * width;
    const uint8_t *seen = s->cross_seen ? s->cross_seen + (size_t)b * length : NULL;
    float *scores = t->scores + (size_t)thread * t->score_stride;
    for (int j = 0; j < s->columns; j++) {
        const size_t row = (size_t)b * s->columns + j;
        attend_f32(t->wide + row * m->width + h * width, keys, values, seen, length, width, scores,
                   t->mixed + row * m->width + h * width);
    }
}

/* --- the walk through the layers; all members of the team go through it, each phase prepared alike ------------------ */

static void product(member *me, step *t, const matrix *m, const float *values, float *out, int add, int rows) {
    const int tiles = (m->out + LANES - 1) / LANES;
    /* Each member sets its own copy: phases end with a meeting, so that nobody is behind. */
    step mine = *t;
    mine.matrix = m;
    mine.in = (inputs){values, m->in, t->bytes, t->scales, t->sums, padded_width(m->in), padded_width(m->in) / GROUP};
    mine.out = out;
    mine.out_stride = m->out;
    mine.add = add;
    mine.rows = rows;
    mine.per_item = tiles >= 64 * me->team->threads ? 4 : tiles >= 16 * me->team->threads ? 2 : 1;
    share_out(me, (tiles + mine.per_item - 1) / mine.per_item, product_item, &mine);
}

static void prepared(member *me, step *t, const matrix *next, int items, item_function work, const norm *n, int last) {
    step mine = *t;
    mine.matrix = next;
    mine.in.padded = padded_width(next->in);
    mine.in.groups = mine.in.padded / GROUP;
    mine.norm = n;
    mine.last_only = last;
    share_out(me, items, work, &mine);
}

static void attention_output(member *me, step *t, const matrix *m) {
    if (is_integer(m)) prepared(me, t, m, t->rows, round_item, NULL, 0);
    product(me, t, m, t->mixed, t->x, 1, t->rows);
}

static void run_step(member *me, void *job) {
    step mine = *(step *)job, *t = &mine;
    const model *m = t->m;
    const int heads = t->s->batch * m->heads;
    for (int i = 0; i < m->layers; i++) {
        const layer *l = &m->layer[i];
        t->c = &t->s->cache[i];
        prepared(me, t, &l->in_proj, t->rows, norm_item, &l->norm1, 0);
        product(me, t, &l->in_proj, t->normed, t->wide, 0, t->rows);
        share_out(me, heads, attend_item, t);
        attention_output(me, t, &l->out_proj);
        if (t->c->cross) {
            prepared(me, t, &l->cross_q, t->rows, norm_item, &l->norm_cross, 0);
            product(me, t, &l->cross_q, t->normed, t->wide, 0, t->rows);
            share_out(me, heads, cross_item, t);
            attention_output(me, t, &l->cross_out);
        }
        prepared(me, t, &l->linear1, t->rows, norm_item, &l->norm2, 0);
        product(me, t, &l->linear1, t->normed, t->hidden, 0, t->rows);
        prepared(me, t, &l->linear2, t->rows * ((m->ffn + GELU_PART - 1) / GELU_PART), gelu_item, NULL, 0);
        product(me, t, &l->linear2, t->hidden, t->x, 1, t->rows);
    }
    prepared(me, t, &m->head, t->s->batch, norm_item, &m->out_norm, 1);
    product(me, t, &m->head, t->normed, t->logits, 0, t->s->batch);
}

/* --- one product alone, for layers outside a step ----------------------------------------------------------------- */

static void round_alone(void *job, int row, int thread) {
    step *t = job;
    (void)thread;
    round_part(t, t->x + (size_t)row * t->matrix->in, row, 0, t->matrix->in);
}

static void run_product(member *me, void *job) {
    step mine = *(step *)job, *t = &mine;
    t->in.padded = padded_width(t->matrix->in);
    t->in.groups = t->in.padded / GROUP;
    if (is_integer(t->matrix)) share_out(me, t->rows, round_alone, t);
    product(me, t, t->matrix, t->x, t->out, 0, t->rows);
}

/* --- what Python calls -------------------------------------------------------------------------------------------- */

/* Carves aligned pieces out of one block; with no block it only counts. */
static void *piece(char *block, size_t *used, size_t bytes) {
    size_t from = (*used + 63) & ~(size_t)63;
    *used = from + bytes;
    return block ? block + from : NULL;
}

static size_t lay_out(step *t, char *block, int threads, int widest) {
    const model *m = t->m;
    const size_t rows = (size_t)t->rows, padded = (size_t)padded_width(widest);
    size_t used = 0;
    if (m) {
        t->x = piece(block, &used, rows * m->width * sizeof(float));
        t->normed = piece(block, &used, rows * m->width * sizeof(float));
        t->wide = piece(block, &used, rows * 3 * m->width * sizeof(float));
        t->mixed = piece(block, &used, rows * m->width * sizeof(float));
        t->hidden = piece(block, &used, rows * m->ffn * sizeof(float));
        t->scores = piece(block, &used, (size_t)threads * t->score_stride * sizeof(float));
    }
    t->bytes = piece(block, &used, rows * padded);
    t->scales = piece(block, &used, rows * (padded / GROUP) * sizeof(float));
    t->sums = piece(block, &used, rows * (padded / GROUP) * sizeof(int32_t));
    return used + 64;
}

EXPORT int soundforge_interface(void) { return INTERFACE; }

EXPORT const char *soundforge_isa(void) { return ISA; }

EXPORT void soundforge_forked(void) { forget_workers(); }

/* x [B * columns, width] in, logits [B, outputs] of each row's last column out; 0 when there was memory for it. */
EXPORT int soundforge_step(const model *m, const state *s, const float *x, float *logits, int threads) {
    step t = {.m = m, .s = s, .rows = s->batch * s->columns, .logits = logits};
    int longest = s->position + s->columns > s->cross_length ? s->position + s->columns : s->cross_length;
    t.score_stride = (longest + 2 * LANES) / LANES * LANES;
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    const int widest = m->ffn > m->width ? m->ffn : m->width;
    char *block = malloc(lay_out(&t, NULL, threads, widest));
    if (!block) return 1;
    lay_out(&t, (char *)(((uintptr_t)block + 63) & ~(uintptr_t)63), threads, widest);
    memcpy(t.x, x, sizeof(float) * (size_t)t.rows * m->width);
    run_on_team(threads, run_step, &t);
    free(block);
    return 0;
}

/* out [rows, m.out] = x [rows, m.in] times the matrix, plus its bias. */
EXPORT int soundforge_product(const matrix *m, const float *x, float *out, int rows, int threads) {
    step t = {.rows = rows, .x = (float *)x, .out = out, .matrix = m};
    char *block = malloc(lay_out(&t, NULL, 1, m->in));
    if (!block) return 1;
    lay_out(&t, (char *)(((uintptr_t)block + 63) & ~(uintptr_t)63), 1, m->in);
    run_on_team(threads, run_product, &t);
    free(block);
    return 0;
}
