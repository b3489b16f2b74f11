/* Layers of a codec beside its convolutions: an LSTM over all frames in one call, and activations in one pass. */
#ifndef SOUNDFORGE_LAYERS_H
#define SOUNDFORGE_LAYERS_H

#include "pool.h"
#include "simd.h"

/* --- functions of one number; what is no number stays none ------------------------------------------------------- */

INLINE f32x16 chosen(i32x16 where, f32x16 a, f32x16 b) { return (f32x16)(((i32x16)a & where) | ((i32x16)b & ~where)); }

INLINE f32x16 sigmoid_f32(f32x16 x) {
    f32x16 e = exp_f32(-magnitude(x)), s = 1.0f / (1.0f + e);
    return chosen(x < 0.0f, e * s, chosen(x >= 0.0f, s, x));
}

/* Relative error below 3e-7: a polynomial near 0, where the quotient of exponentials would lose digits. */
INLINE f32x16 tanh_f32(f32x16 x) {
    f32x16 a = magnitude(x), z = x * x, e = exp_f32(-2.0f * a), far = (1.0f - e) / (1.0f + e);
    far = (f32x16)((i32x16)far | ((i32x16)x & INT32_MIN));
    f32x16 p = -5.70498872745e-3f * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    return chosen(a < 0.625f, x + x * z * p, chosen(a >= 0.625f, far, x));
}

/* x above 0, exp(x) - 1 below; relative error below 3e-7. */
INLINE f32x16 elu_f32(f32x16 x) {
    f32x16 power, rest = exp_parts(-larger(-x, all_f32(0.0f)), &power);
    return chosen(x <= 0.0f, rest * power + (power - 1.0f), x);
}

/* sin(x)^2: the sign does not matter, so x is taken to within half a pi of 0; absolute error below 3e-7 plus what the
   rounding of x itself does. */
INLINE f32x16 sin_squared_f32(f32x16 x) {
    f32x16 n = nearest(x * 0.318309886183790672f);
    f32x16 r = ((x - n * 3.140625f) - n * 9.67502593994140625e-4f) - n * 1.509957990978376432e-7f;
    r = larger(-larger(-r, all_f32(-1.6f)), all_f32(-1.6f)); /* beyond 2^22 neighbouring floats are a turn apart */
    f32x16 z = r * r;
    f32x16 p = -2.3893647949e-08f * z + 2.7525743462e-06f;
    p = p * z - 1.9840877212e-04f;
    p = p * z + 8.3333309740e-03f;
    p = p * z - 1.6666667163e-01f;
    f32x16 s = r + r * z * p;
    return s * s;
}

/* --- activations -------------------------------------------------------------------------------------------------- */

#define FLOATS_PER_ITEM 16384

typedef struct {
    const float *x;
    float *y;               /* may be x */
    int64_t row, rows;      /* floats in a row, which share one alpha */
    const float *alpha;     /* of snake, [channels]; NULL = ELU */
    int channels, per_row;  /* items of a row */
} activation;

INLINE f32x16 activated(f32x16 x, const int snake, float alpha, float inverse) {
    return snake ? x + sin_squared_f32(x * alpha) * inverse : elu_f32(x);
}

INLINE void activate_part(const float *x, float *y, int64_t n, const int snake, float alpha, float inverse) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) store_f32(y + i, activated(load_f32(x + i), snake, alpha, inverse));
    if (i == n) return;
    float part[LANES] = {0};
    memcpy(part, x + i, sizeof(float) * (size_t)(n - i));
    store_f32(part, activated(load_f32(part), snake, alpha, inverse));
    memcpy(y + i, part, sizeof(float) * (size_t)(n - i));
}

static void activate_item(void *job, int item, int thread) {
    const activation *a = job;
    (void)thread;
    const int64_t row = item / a->per_row, start = (int64_t)(item % a->per_row) * FLOATS_PER_ITEM;
    const int64_t n = a->row - start < FLOATS_PER_ITEM ? a->row - start : FLOATS_PER_ITEM, at = row * a->row + start;
    if (a->alpha) {
        const float alpha = a->alpha[row % a->channels];
        activate_part(a->x + at, a->y + at, n, 1, alpha, 1.0f / (alpha + 1e-9f));
    } else {
        activate_part(a->x + at, a->y + at, n, 0, 0.0f, 0.0f);
    }
}

static void run_activation(member *me, void *job) {
    const activation *a = job;
    share_out(me, (int)(a->rows * a->per_row), activate_item, job);
}

EXPORT void soundforge_activate(const activation *given, int threads) {
    activation a = *given;
    a.per_row = (int)((a.row + FLOATS_PER_ITEM - 1) / FLOATS_PER_ITEM);
    run_on_team(a.row * a.rows > 2 * FLOATS_PER_ITEM ? threads : 1, run_activation, &a);
}

/* --- LSTM --------------------------------------------------------------------------------------------------------- */

typedef struct {
    int batch, width, frames;
    const float *weight; /* recurrent, [4 width, width]: input gate, forget gate, candidate, output gate */
    const float *shares; /* [frames, batch, 4 width]: what the inputs and the biases give */
    const float *h;      /* [batch, width] before the first frame */
    float *c;            /* [batch, width], in and out */
    float *out;          /* [frames, batch, width] */
    int frame;
} recurrent;

/* Four rows of a matrix, one of each gate, times `h`. */
INLINE void four_dots(const float *w, size_t apart, const float *h, int width, float *out) {
    f32x16 even[4], odd[4];
    for (int g = 0; g < 4; g++) even[g] = odd[g] = all_f32(0.0f);
    int k = 0;
    for (; k + 2 * LANES <= width; k += 2 * LANES) {
        f32x16 a = load_f32(h + k), b = load_f32(h + k + LANES);
        for (int g = 0; g < 4; g++) {
            even[g] += load_f32(w + g * apart + k) * a;
            odd[g] += load_f32(w + g * apart + k + LANES) * b;
        }
    }
    for (int g = 0; g < 4; g++) {
        float sum = sum_lanes(even[g] + odd[g]);
        for (int i = k; i < width; i++) sum += w[g * apart + i] * h[i];
        out[g * LANES] = sum;
    }
}

static void recurrent_item(void *job, int item, int thread) {
    recurrent *l = job;
    (void)thread;
    const int width = l->width, unit = item * LANES, n = width - unit < LANES ? width - unit : LANES;
    for (int b = 0; b < l->batch; b++) {
        const float *h = (l->frame ? l->out + (size_t)(l->frame - 1) * l->batch * width : l->h) + (size_t)b * width;
        const float *share = l->shares + ((size_t)l->frame * l->batch + b) * 4 * width + unit;
        float gate[4][LANES] = {{0}}, before[LANES] = {0}, after[LANES];
        for (int i = 0; i < n; i++)
            four_dots(l->weight + (size_t)(unit + i) * width, (size_t)width * width, h, width, gate[0] + i);
        for (int g = 0; g < 4; g++)
            for (int i = 0; i < n; i++) gate[g][i] += share[(size_t)g * width + i];
        memcpy(before, l->c + (size_t)b * width + unit, sizeof(float) * (size_t)n);
        f32x16 c = sigmoid_f32(load_f32(gate[1])) * load_f32(before)
                 + sigmoid_f32(load_f32(gate[0])) * tanh_f32(load_f32(gate[2]));
        store_f32(before, c);
        store_f32(after, sigmoid_f32(load_f32(gate[3])) * tanh_f32(c));
        memcpy(l->c + (size_t)b * width + unit, before, sizeof(float) * (size_t)n);
        memcpy(l->out + ((size_t)l->frame * l->batch + b) * width + unit, after, sizeof(float) * (size_t)n);
    }
}

static void run_recurrent(member *me, void *job) {
    recurrent mine = *(recurrent *)job; /* each thread counts its own frames; they meet after each */
    for (mine.frame = 0; mine.frame < mine.frames; mine.frame++)
        share_out(me, (mine.width + LANES - 1) / LANES, recurrent_item, &mine);
}

EXPORT void soundforge_recurrent(const recurrent *given, int threads) {
    run_on_team(given->width >= 256 ? threads : 1, run_recurrent, (void *)given);
}

#endif
