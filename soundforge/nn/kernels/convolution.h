/* Convolutions over time, of one or of transposed stride, as codecs have them.

   Time lies along a vector's lanes: one weight times 48 neighbouring samples, for 8 outputs at once, so that every tap
   is a load at another place and nothing is re-arranged. Where few samples come, 16 outputs lie along the lanes instead
   and the weights, which are then most of what is read, are read once. Sums run over inputs, then taps, in that order
   for every sample: a signal that comes in pieces gives the same bits as the whole. */
#ifndef SOUNDFORGE_CONVOLUTION_H
#define SOUNDFORGE_CONVOLUTION_H

#include "pool.h"
#include "simd.h"

#define TALL 8   /* outputs of a block */
#define LONG 3   /* vectors of samples of a block */
#define FEW 8    /* up to so many samples outputs lie along the lanes */
#define SCRATCH_FLOATS 49152 /* of inputs that a thread works on: they stay in its second cache */

typedef struct {
    int batch, in, out, taps, dilation;
    int stride;            /* outputs come in groups of so many, which are interleaved: a transposed convolution */
    int samples, pad;      /* that come, and zeros before and behind them */
    const float *weight;   /* [out / 16, in, taps, 16] */
    const float *bias;     /* [out / stride] or NULL */
    const float *x;        /* [batch, in, samples] */
    float *y;              /* [batch, out / stride, stride * outputs in time] */
    int64_t x_batch, x_row, y_batch, y_row; /* in floats */
} convolution;

typedef struct {
    convolution c;
    int made;              /* outputs in time, before interleaving */
    int span, spans, halo, row, tiles_at_once, groups;
    float *scratch;
} convolving;

INLINE void block(const float *w, const float *x, const convolving *j, const int tall, const int vectors, float *out) {
    const int in = j->c.in, taps = j->c.taps, dilation = j->c.dilation;
    f32x16 sum[TALL][LONG];
    for (int o = 0; o < tall; o++)
        for (int v = 0; v < vectors; v++) sum[o][v] = all_f32(0.0f);
    for (int i = 0; i < in; i++, x += j->row)
        for (int k = 0; k < taps; k++, w += LANES) {
            f32x16 part[LONG];
            for (int v = 0; v < vectors; v++) part[v] = load_f32(x + k * dilation + v * LANES);
            for (int o = 0; o < tall; o++)
                for (int v = 0; v < vectors; v++) sum[o][v] += w[o] * part[v];
        }
    for (int o = 0; o < tall; o++)
        for (int v = 0; v < vectors; v++) store_f32(out + (o * LONG + v) * LANES, sum[o][v]);
}

INLINE void few_samples(const float *w, const float *x, const convolving *j, const int samples, float *out) {
    f32x16 sum[FEW];
    for (int t = 0; t < samples; t++) sum[t] = all_f32(0.0f);
    for (int i = 0; i < j->c.in; i++, x += j->row)
        for (int k = 0; k < j->c.taps; k++, w += LANES) {
            f32x16 weights = load_f32(w);
            ask_for(w + AHEAD / 4);
            for (int t = 0; t < samples; t++) sum[t] += weights * x[k * j->c.dilation + t];
        }
    for (int t = 0; t < samples; t++) store_f32(out + t * LANES, sum[t]);
}

static void some_samples(const float *w, const float *x, const convolving *j, int samples, float *out) {
    switch (samples) {
        case 1: few_samples(w, x, j, 1, out); break;
        case 2: few_samples(w, x, j, 2, out); break;
        case 3: few_samples(w, x, j, 3, out); break;
        case 4: few_samples(w, x, j, 4, out); break;
        default: few_samples(w, x, j, FEW, out);
    }
}

/* Output `o` of the network's own numbering, `n` samples from `start` on, given every `step` floats. */
static void put(const convolving *j, int batch, int o, int start, int n, const float *from, int step) {
    const convolution *c = &j->c;
    const int channel = o / c->stride, phase = o % c->stride;
    const float bias = c->bias ? c->bias[channel] : 0.0f;
    float *to = c->y + batch * c->y_batch + channel * c->y_row + (int64_t)start * c->stride + phase;
    if (c->stride == 1 && step == 1)
        for (int t = 0; t < n; t++) to[t] = from[t] + bias;
    else
        for (int t = 0; t < n; t++) to[(int64_t)t * c->stride] = from[t * step] + bias;
}

/* The inputs under one span, zeros around the signal included, side by side. */
static void gather(const convolving *j, int batch, int start, int wanted, float *to) {
    const convolution *c = &j->c;
    const int first = start - c->pad, from = first < 0 ? 0 : first;
    const int end = first + wanted < c->samples ? first + wanted : c->samples;
    for (int i = 0; i < c->in; i++, to += j->row) {
        int before = from - first < j->row ? from - first : j->row, there = end > from ? end - from : 0;
        memset(to, 0, sizeof(float) * (size_t)before);
        memcpy(to + before, c->x + batch * c->x_batch + i * c->x_row + from, sizeof(float) * (size_t)there);
        memset(to + before + there, 0, sizeof(float) * (size_t)(j->row - before - there));
    }
}

static void tile_of_outputs(const convolving *j, int batch, int tile, int start, int width, const float *x) {
    const convolution *c = &j->c;
    const float *w = c->weight + (size_t)tile * c->in * c->taps * LANES;
    const int outs = c->out - tile * LANES < LANES ? c->out - tile * LANES : LANES;
    float made[TALL * LONG * LANES];
    for (int s = 0, n; s < width; s += n) {
        const int left = width - s, whole = left / LANES;
        const int vectors = outs == 1 || whole >= LONG ? LONG : whole + (left % LANES > FEW);
        if (vectors == 0) {
            n = left;
            some_samples(w, x + s, j, n, made);
            for (int o = 0; o < outs; o++) put(j, batch, tile * LANES + o, start + s, n, made + o, LANES);
            continue;
        }
        n = left < vectors * LANES ? left : vectors * LANES;
        for (int half = 0; half < outs; half += TALL) {
            if (outs == 1) block(w, x + s, j, 1, LONG, made);
            else if (vectors == 3) block(w + half, x + s, j, TALL, 3, made);
            else if (vectors == 2) block(w + half, x + s, j, TALL, 2, made);
            else block(w + half, x + s, j, TALL, 1, made);
            for (int o = 0; o < TALL && half + o < outs; o++)
                put(j, batch, tile * LANES + half + o, start + s, n, made + o * LONG * LANES, 1);
        }
    }
}

static void convolve_item(void *job, int item, int thread) {
    const convolving *j = job;
    const int tiles = (j->c.out + LANES - 1) / LANES;
    const int group = item % j->groups, at = item / j->groups, start = at % j->spans * j->span, batch = at / j->spans;
    const int width = j->made - start < j->span ? j->made - start : j->span;
    float *x = j->scratch + (size_t)thread * j->c.in * j->row;
    gather(j, batch, start, width + j->halo, x);
    const int first = group * j->tiles_at_once, end = first + j->tiles_at_once;
    for (int tile = first; tile < end && tile < tiles; tile++) tile_of_outputs(j, batch, tile, start, width, x);
}

static void run_convolution(member *me, void *job) {
    const convolving *j = job;
    share_out(me, j->c.batch * j->spans * j->groups, convolve_item, job);
}

/* 0 when there was memory for it. */
EXPORT int soundforge_convolve(const convolution *given, int threads) {
    convolving j = {.c = *given};
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    j.halo = (given->taps - 1) * given->dilation;
    j.made = given->samples + 2 * given->pad - j.halo;
    const int whole = LONG * LANES, fitting = SCRATCH_FLOATS / given->in - j.halo;
    j.span = fitting < 2 * whole ? 2 * whole : fitting > 8 * whole ? 8 * whole : fitting / whole * whole;
    if (j.span > j.made) j.span = (j.made + LANES - 1) / LANES * LANES;
    j.spans = (j.made + j.span - 1) / j.span;
    j.row = (j.span + LONG * LANES - 1) / whole * whole + (j.halo + LANES - 1) / LANES * LANES;
    const int tiles = (given->out + LANES - 1) / LANES, there = given->batch * j.spans, wanted = 6 * threads;
    j.groups = threads == 1 || there >= wanted ? 1 : (wanted + there - 1) / there;
    if (j.groups > tiles) j.groups = tiles;
    j.tiles_at_once = (tiles + j.groups - 1) / j.groups;
    j.groups = (tiles + j.tiles_at_once - 1) / j.tiles_at_once;
    char *memory = malloc(sizeof(float) * (size_t)threads * given->in * j.row + 64);
    if (!memory) return 1;
    j.scratch = (float *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    run_on_team(threads, run_convolution, &j);
    free(memory);
    return 0;
}

#endif
