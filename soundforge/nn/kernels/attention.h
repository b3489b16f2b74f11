/* Attention of one head of one row to what its cache holds, floats or 8-bit numbers.

   8-bit cache, per row and head (D = head width, rounded up to 16; S = capacity, rounded up to 16):
       keys    uint8 [S / 16, D / 4, 16, 4]   offset by 128: tiles of 16 positions, as a matrix's tiles of outputs
       values  int8  [S, D]
       scales  float [S] of the keys, [S] of the values: one for each vector */
#ifndef SOUNDFORGE_ATTENTION_H
#define SOUNDFORGE_ATTENTION_H

#include "matrix.h"

#define WIDEST_HEAD 512

/* Turn scores[0..n) into weights that sum to 1 after division by the result. */
static float soften(float *scores, int n) {
    float top = -3.0e38f;
    f32x16 best = all_f32(top), total = all_f32(0.0f);
    int i = 0;
    for (; i + LANES <= n; i += LANES) best = larger(best, load_f32(scores + i));
    for (; i < n; i++) top = scores[i] > top ? scores[i] : top;
    float lanes = largest_lane(best);
    top = lanes > top ? lanes : top;
    for (i = n; i % LANES; i++) scores[i] = -3.0e38f; /* the buffer has room for whole vectors */
    for (i = 0; i < n; i += LANES) {
        f32x16 e = exp_f32(load_f32(scores + i) - top);
        store_f32(scores + i, e);
        total += e;
    }
    return sum_lanes(total);
}

/* --- float cache ------------------------------------------------------------------------------------------------ */

INLINE float dot_f32(const float *a, const float *b, int n) {
    f32x16 total = all_f32(0.0f);
    int i = 0;
    for (; i + LANES <= n; i += LANES) total += load_f32(a + i) * load_f32(b + i);
    float sum = sum_lanes(total);
    for (; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* q [width] against keys and values [n, width]; `seen` [n] or NULL. */
static void attend_f32(const float *q, const float *keys, const float *values, const uint8_t *seen, int n, int width,
                       float *scores, float *out) {
    const float scale = 1.0f / __builtin_sqrtf((float)width);
    for (int s = 0; s < n; s++) {
        ask_for(keys + (size_t)s * width + AHEAD / 4);
        scores[s] = seen && !seen[s] ? -3.0e38f : scale * dot_f32(q, keys + (size_t)s * width, width);
    }
    const float total = soften(scores, n);
    int d = 0;
    for (; d + 4 * LANES <= width; d += 4 * LANES) {
        f32x16 sum[4] = {{0}};
        for (int s = 0; s < n; s++) {
            const float *v = values + (size_t)s * width + d;
            ask_for(v + AHEAD / 4);
            for (int part = 0; part < 4; part++) sum[part] += scores[s] * load_f32(v + part * LANES);
        }
        for (int part = 0; part < 4; part++) store_f32(out + d + part * LANES, sum[part] / total);
    }
    for (; d + LANES <= width; d += LANES) {
        f32x16 sum = all_f32(0.0f);
        for (int s = 0; s < n; s++) sum += scores[s] * load_f32(values + (size_t)s * width + d);
        store_f32(out + d, sum / total);
    }
    for (; d < width; d++) {
        float sum = 0.0f;
        for (int s = 0; s < n; s++) sum += scores[s] * values[(size_t)s * width + d];
        out[d] = sum / total;
    }
}

/* --- 8-bit cache ------------------------------------------------------------------------------------------------ */

INLINE int wide_head(int width) { return (width + LANES - 1) / LANES * LANES; }

/* x to bytes in [-127, 127], zeros up to the padded width; gives the scale. */
INLINE float round_vector(const float *x, int width, int8_t *bytes) {
    const int wide = wide_head(width);
    float padded[WIDEST_HEAD];
    f32x16 best = all_f32(0.0f);
    memcpy(padded, x, sizeof(float) * (size_t)width);
    for (int i = width; i < wide; i++) padded[i] = 0.0f;
    for (int i = 0; i < wide; i += LANES) best = larger(best, magnitude(load_f32(padded + i)));
    const float top = largest_lane(best), inverse = top > 0.0f ? 127.0f / top : 0.0f;
    for (int i = 0; i < wide; i += LANES)
        store_i8(bytes + i, __builtin_convertvector(nearest(load_f32(padded + i) * inverse), i32x16));
    return top / 127.0f;
}

static void keep_i8(const float *key, const float *value, int width, int position, uint8_t *keys, int8_t *values,
                    float *key_scales, float *value_scales) {
    const int wide = wide_head(width);
    int8_t bytes[WIDEST_HEAD];
    key_scales[position] = round_vector(key, width, bytes);
    uint8_t *tile = keys + (size_t)(position / LANES) * LANES * wide + 4 * (position % LANES);
    for (int d = 0; d < wide; d += 4)
        for (int i = 0; i < 4; i++) tile[16 * d + i] = (uint8_t)(bytes[d + i] + 128);
    value_scales[position] = round_vector(value, width, values + (size_t)position * wide);
}

static void attend_i8(const float *q, const uint8_t *keys, const int8_t *values, const float *key_scales,
                      const float *value_scales, int n, int width, float *scores, float *out) {
    const int wide = wide_head(width);
    int8_t bytes[WIDEST_HEAD];
    const float scale = round_vector(q, width, bytes) / __builtin_sqrtf((float)width);
    int32_t sum = 0;
    for (int d = 0; d < width; d++) sum += bytes[d];
    for (int s = 0; s < n; s += LANES) { /* beyond n, what the last tile holds is computed and not used */
        const uint8_t *tile = keys + (size_t)s * wide;
        i32x16 even = all_i32(-128 * sum), odd = all_i32(0);
        for (int d = 0; d < wide; d += 8) {
            ask_for(tile + 16 * d + AHEAD);
            ask_for(tile + 16 * d + 64 + AHEAD);
            even = dot4(even, load_u8(tile + 16 * d), load_i32(bytes + d), 0);
            odd = dot4(odd, load_u8(tile + 16 * d + 64), load_i32(bytes + d + 4), 0);
        }
        store_f32(scores + s, to_float(even + odd) * (load_f32(key_scales + s) * scale));
    }
    const float total = soften(scores, n);
    for (int s = 0; s < n; s += LANES) store_f32(scores + s, load_f32(scores + s) * load_f32(value_scales + s));
    int d = 0;
    for (; d + 4 * LANES <= wide; d += 4 * LANES) {
        f32x16 mix[4] = {{0}};
        for (int s = 0; s < n; s++) {
            const int8_t *v = values + (size_t)s * wide + d;
            ask_for(v + AHEAD);
            for (int part = 0; part < 4; part++) mix[part] += scores[s] * load_i8(v + part * LANES);
        }
        for (int part = 0; part < 4; part++) store_f32(out + d + part * LANES, mix[part] / total);
    }
    for (; d < wide; d += LANES) {
        f32x16 mix = all_f32(0.0f);
        for (int s = 0; s < n; s++) mix += scores[s] * load_i8(values + (size_t)s * wide + d);
        store_f32(out + d, mix / total);
    }
}

#endif
