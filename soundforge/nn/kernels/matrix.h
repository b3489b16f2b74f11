/* Products of a few rows with a big matrix, each weight read once from memory.

   Float matrices lie row by row, `[out, in]`. Integer ones lie in tiles of 16 outputs, as `quantised.py` describes:
   four (4 bits: eight) inputs of 16 outputs make 64 bytes, so that one lane of a vector sums for one output. */
#ifndef SOUNDFORGE_MATRIX_H
#define SOUNDFORGE_MATRIX_H

#include "simd.h"

#define GROUP 32 /* inputs that share one scale when rows are rounded to 8 bits */

enum { FLOAT32 = 0, FLOAT16 = 1, INT8 = 2, INT4 = 3 };

typedef struct {
    int kind, in, out;
    int groups_per_scale; /* of weights: a scale for so many GROUPs of inputs */
    const void *weight;
    const uint16_t *scale; /* bfloat16 [tiles, scales, 16] */
    const float *bias;
} matrix;

/* Rows as a product takes them: floats, and beside them 8-bit numbers in groups. */
typedef struct {
    const float *values;
    int stride;         /* of values, in floats */
    const int8_t *bytes; /* [rows, padded] */
    const float *scales; /* [rows, groups] */
    const int32_t *sums; /* [rows, groups], see round_row */
    int padded, groups;
} inputs;

INLINE int padded_width(int width) { return (width + GROUP - 1) / GROUP * GROUP; }

/* Round one row to 8 bits, group by group; `sums` get -offset times the sum of a group, which takes back the offset
   that the weights' bytes have. */
static void round_row(const float *x, int width, int offset, int8_t *bytes, float *scales, int32_t *sums) {
    int groups = padded_width(width) / GROUP;
    for (int g = 0; g < groups; g++) {
        float part[GROUP] = {0};
        int here = width - g * GROUP < GROUP ? width - g * GROUP : GROUP;
        memcpy(part, x + g * GROUP, sizeof(float) * (size_t)here);
        f32x16 a = load_f32(part), b = load_f32(part + LANES);
        float top = largest_lane(larger(magnitude(a), magnitude(b)));
        f32x16 inverse = all_f32(top > 0.0f ? 127.0f / top : 0.0f);
        i32x16 whole_a = __builtin_convertvector(nearest(a * inverse), i32x16);
        i32x16 whole_b = __builtin_convertvector(nearest(b * inverse), i32x16);
        store_i8(bytes + g * GROUP, whole_a);
        store_i8(bytes + g * GROUP + LANES, whole_b);
        i32x16 both = whole_a + whole_b;
        int32_t sum = 0;
        for (int i = 0; i < LANES; i++) sum += both[i];
        scales[g] = top / 127.0f;
        sums[g] = -offset * sum;
    }
}

/* --- integers --------------------------------------------------------------------------------------------------- */

INLINE void integer_tile(const matrix *m, int tile, const inputs *x, int row, const int rows, const int bits,
                         f32x16 *total) {
    const size_t group_bytes = GROUP * LANES * (size_t)bits / 8;
    const uint8_t *w = (const uint8_t *)m->weight + (size_t)tile * x->groups * group_bytes;
    const int n_scales = (x->groups + m->groups_per_scale - 1) / m->groups_per_scale;
    const uint16_t *scale = m->scale + (size_t)tile * n_scales * LANES;
    f32x16 step = {0};
    for (int r = 0; r < rows; r++) total[r] = all_f32(0.0f);
    int until_next = 0;
    for (int g = 0; g < x->groups; g++, w += group_bytes) {
        if (until_next == 0) {
            step = load_bf16(scale);
            scale += LANES;
            until_next = m->groups_per_scale;
        }
        until_next--;
        i32x16 a[8], b[8];
        for (int r = 0; r < rows; r++) {
            a[r] = all_i32(x->sums[(row + r) * x->groups + g]);
            b[r] = all_i32(0);
        }
        if (bits == 4) {
            for (int k = 0; k < GROUP / 8; k++) {
                u8x64 both = load_u8(w + 64 * k);
                ask_for(w + 64 * k + AHEAD);
                u8x64 low = both & 15, high = both >> 4;
                for (int r = 0; r < rows; r++) {
                    const int8_t *part = x->bytes + (size_t)(row + r) * x->padded + g * GROUP + 8 * k;
                    a[r] = dot4(a[r], low, load_i32(part), 1);
                    b[r] = dot4(b[r], high, load_i32(part + 4), 1);
                }
            }
        } else {
            for (int k = 0; k < GROUP / 4; k += 2) {
                u8x64 first = load_u8(w + 64 * k), second = load_u8(w + 64 * k + 64);
                ask_for(w + 64 * k + AHEAD);
                ask_for(w + 64 * k + 64 + AHEAD);
                for (int r = 0; r < rows; r++) {
                    const int8_t *part = x->bytes + (size_t)(row + r) * x->padded + g * GROUP + 4 * k;
                    a[r] = dot4(a[r], first, load_i32(part), 0);
                    b[r] = dot4(b[r], second, load_i32(part + 4), 0);
                }
            }
        }
        for (int r = 0; r < rows; r++)
            total[r] += to_float(a[r] + b[r]) * (step * x->scales[(row + r) * x->groups + g]);
    }
}

/* --- floats ----------------------------------------------------------------------------------------------------- */

INLINE f32x16 load_weight(const void *w, size_t at, const int half) {
    return half ? load_f16((const uint16_t *)w + at) : load_f32((const float *)w + at);
}

INLINE float one_weight(const void *w, size_t at, const int half) {
    if (!half) return ((const float *)w)[at];
    uint16_t lanes[LANES] = {0};
    lanes[0] = ((const uint16_t *)w)[at];
    return load_f16(lanes)[0];
}

#ifdef __AVX512F__
#define STRANDS 4
#else
#define STRANDS 2
#endif

/* One output of `rows` rows: sums[16 r]. Outputs come one after the other, so that memory is read from front to back:
   several rows of a matrix side by side would fall on the same places of the first cache. */
INLINE void float_output(const matrix *m, int out, const inputs *x, int row, const int rows, const int half,
                         float *sums) {
    f32x16 total[STRANDS][4];
    for (int s = 0; s < STRANDS; s++)
        for (int r = 0; r < rows; r++) total[s][r] = all_f32(0.0f);
    const size_t start = (size_t)out * m->in;
    const char *bytes = (const char *)m->weight + start * (half ? 2 : 4);
    int k = 0;
    for (; k + STRANDS * LANES <= m->in; k += STRANDS * LANES)
        for (int s = 0; s < STRANDS; s++) {
            f32x16 w = load_weight(m->weight, start + k + s * LANES, half);
            if (!half || s % 2 == 0) ask_for(bytes + (size_t)(k + s * LANES) * (half ? 2 : 4) + AHEAD);
            for (int r = 0; r < rows; r++)
                total[s][r] += w * load_f32(x->values + (size_t)(row + r) * x->stride + k + s * LANES);
        }
    for (; k + LANES <= m->in; k += LANES) {
        f32x16 w = load_weight(m->weight, start + k, half);
        for (int r = 0; r < rows; r++) total[0][r] += w * load_f32(x->values + (size_t)(row + r) * x->stride + k);
    }
    for (int r = 0; r < rows; r++) {
        f32x16 all = total[0][r];
        for (int s = 1; s < STRANDS; s++) all += total[s][r];
        float sum = sum_lanes(all);
        for (int i = k; i < m->in; i++)
            sum += one_weight(m->weight, start + i, half) * x->values[(size_t)(row + r) * x->stride + i];
        sums[r * LANES] = sum;
    }
}

/* --- any matrix, 16 outputs at a time --------------------------------------------------------------------------- */

INLINE void some_rows(const matrix *m, int tile, const inputs *x, int row, const int rows, float *sums) {
    if (m->kind == INT4 || m->kind == INT8) {
        f32x16 total[8];
        if (m->kind == INT4) integer_tile(m, tile, x, row, rows, 4, total);
        else integer_tile(m, tile, x, row, rows, 8, total);
        for (int r = 0; r < rows; r++) store_f32(sums + r * LANES, total[r]);
        return;
    }
    int first = tile * LANES, n = m->out - first < LANES ? m->out - first : LANES;
    for (int o = 0; o < n; o++) {
        if (m->kind == FLOAT16) float_output(m, first + o, x, row, rows, 1, sums + o);
        else float_output(m, first + o, x, row, rows, 0, sums + o);
    }
}

/* Outputs 16 tile .. 16 tile + 15 of all rows into out[rows, stride], or added to what stands there. */
static void product_tile(const matrix *m, int tile, const inputs *x, int rows, float *out, int stride, int add) {
    int first = tile * LANES, n = m->out - first < LANES ? m->out - first : LANES;
    int most = m->kind == INT4 || m->kind == INT8 ? 8 : 4;
    for (int row = 0; row < rows;) {
        float sums[8 * LANES];
        int left = rows - row, now;
        if (left >= 8 && most == 8) some_rows(m, tile, x, row, 8, sums), now = 8;
        else if (left >= 4) some_rows(m, tile, x, row, 4, sums), now = 4;
        else if (left == 3) some_rows(m, tile, x, row, 3, sums), now = 3;
        else if (left == 2) some_rows(m, tile, x, row, 2, sums), now = 2;
        else some_rows(m, tile, x, row, 1, sums), now = 1;
        for (int r = 0; r < now; r++) {
            float *to = out + (size_t)(row + r) * stride + first;
            for (int o = 0; o < n; o++) {
                float value = sums[r * LANES + o] + (m->bias ? m->bias[first + o] : 0.0f);
                to[o] = add ? to[o] + value : value;
            }
        }
        row += now;
    }
}

#endif
