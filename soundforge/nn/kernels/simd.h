/* Vectors of 16 lanes for every processor: the compiler splits them where registers are narrower. */
#ifndef SOUNDFORGE_SIMD_H
#define SOUNDFORGE_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define LANES 16

typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef int8_t i8x16 __attribute__((vector_size(16)));
typedef uint8_t u8x64 __attribute__((vector_size(64)));

#if defined(__AVX512VNNI__) && defined(__AVX512F__)
#define ISA "avx512-vnni"
#elif defined(__AVXVNNI__)
#define ISA "avx-vnni"
#elif defined(__AVX2__)
#define ISA "avx2"
#elif defined(__ARM_FEATURE_DOTPROD)
#define ISA "neon-dotprod"
#else
#define ISA "portable"
#endif

/* Ask for memory that is read soon, into the second cache: in the first one it would push out what is in use. Measured
   on Zen 4: with it every product reads as fast as a plain sum; into the first cache, half as fast. */
#define AHEAD 8192
INLINE void ask_for(const void *p) { __builtin_prefetch(p, 0, 2); }

INLINE f32x16 load_f32(const float *p) { f32x16 v; memcpy(&v, p, sizeof v); return v; }
INLINE void store_f32(float *p, f32x16 v) { memcpy(p, &v, sizeof v); }
INLINE u8x64 load_u8(const uint8_t *p) { u8x64 v; memcpy(&v, p, sizeof v); return v; }
INLINE int32_t load_i32(const int8_t *p) { int32_t v; memcpy(&v, p, sizeof v); return v; }
INLINE f32x16 all_f32(float x) { return x - (f32x16){0}; }
INLINE i32x16 all_i32(int32_t x) { return x - (i32x16){0}; }
INLINE f32x16 to_float(i32x16 v) { return __builtin_convertvector(v, f32x16); }

INLINE f32x16 load_i8(const int8_t *p) {
#if defined(__AVX512F__) /* compilers take such a conversion apart */
    return (f32x16)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif defined(__AVX2__)
    __m256 halves[2] = {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p))),
                        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(p + 8))))};
    f32x16 v;
    memcpy(&v, halves, sizeof v);
    return v;
#else
    i8x16 v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, f32x16);
#endif
}

INLINE void store_i8(int8_t *p, i32x16 v) {
#if defined(__AVX512F__)
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8((__m512i)v));
#else
    i8x16 narrow = __builtin_convertvector(v, i8x16);
    memcpy(p, &narrow, sizeof narrow);
#endif
}

/* bfloat16 is the upper half of a float. */
INLINE f32x16 load_bf16(const uint16_t *p) {
    u16x16 v;
    memcpy(&v, p, sizeof v);
    return (f32x16)(__builtin_convertvector(v, u32x16) << 16);
}

INLINE f32x16 load_f16(const uint16_t *p) {
#if defined(__AVX512F__)
    return (f32x16)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#elif defined(__F16C__)
    __m256 halves[2] = {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
                        _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)))};
    f32x16 v;
    memcpy(&v, halves, sizeof v);
    return v;
#elif defined(__aarch64__)
    f32x16 v;
    __fp16 h[16];
    memcpy(h, p, sizeof h);
    for (int i = 0; i < 16; i++) v[i] = (float)h[i];
    return v;
#else
    /* Shift exponent and fraction into a float's places; the product with 2^112 mends the exponent's offset, and
       brings subnormal numbers along. Infinities do not occur in weights. */
    u16x16 h;
    memcpy(&h, p, sizeof h);
    u32x16 wide = __builtin_convertvector(h, u32x16);
    f32x16 magnitude = (f32x16)((wide & 0x7fff) << 13) * 0x1p112f;
    return (f32x16)((u32x16)magnitude | ((wide & 0x8000) << 16));
#endif
}

INLINE float sum_lanes(f32x16 v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float part[8], total = 0.0f;
    for (int i = 0; i < 8; i++) part[i] = v[i] + v[i + 8];
    for (int i = 0; i < 4; i++) part[i] += part[i + 4];
    for (int i = 0; i < 4; i++) total += part[i];
    return total;
#endif
}

INLINE f32x16 larger(f32x16 a, f32x16 b) {
    i32x16 choose = a > b;
    return (f32x16)(((i32x16)a & choose) | ((i32x16)b & ~choose));
}

INLINE f32x16 magnitude(f32x16 a) { return (f32x16)((i32x16)a & 0x7fffffff); }

INLINE float largest_lane(f32x16 v) {
    float best = v[0];
    for (int i = 1; i < LANES; i++) best = v[i] > best ? v[i] : best;
    return best;
}

/* acc[lane] += sum of w[4 lane + i] * x[i], i = 0..3; w unsigned bytes, x four signed bytes in one word.
   `narrow` promises w <= 15, where the pairwise 16-bit sums of AVX2 cannot overflow. */
INLINE i32x16 dot4(i32x16 acc, u8x64 w, int32_t x, int narrow) {
    (void)narrow;
#if defined(__AVX512VNNI__) && defined(__AVX512F__)
    return (i32x16)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)w, _mm512_set1_epi32(x));
#elif defined(__AVX2__)
    __m256i a[2], b[2], y = _mm256_set1_epi32(x);
    memcpy(a, &acc, sizeof a);
    memcpy(b, &w, sizeof b);
    for (int half = 0; half < 2; half++) {
#if defined(__AVXVNNI__)
        a[half] = _mm256_dpbusd_avx_epi32(a[half], b[half], y);
#else
        if (narrow) {
            __m256i pairs = _mm256_maddubs_epi16(b[half], y);
            a[half] = _mm256_add_epi32(a[half], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        } else {
            __m256i even = _mm256_madd_epi16(_mm256_and_si256(b[half], _mm256_set1_epi16(0xff)),
                                             _mm256_srai_epi16(_mm256_slli_epi16(y, 8), 8));
            __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(b[half], 8), _mm256_srai_epi16(y, 8));
            a[half] = _mm256_add_epi32(a[half], _mm256_add_epi32(even, odd));
        }
#endif
    }
    memcpy(&acc, a, sizeof a);
    return acc;
#elif defined(__ARM_FEATURE_DOTPROD)
    int8x16_t y = vreinterpretq_s8_s32(vdupq_n_s32(x));
    int32x4_t a[4];
    uint8x16_t b[4];
    memcpy(a, &acc, sizeof a);
    memcpy(b, &w, sizeof b);
    for (int part = 0; part < 4; part++) {
        if (narrow) {
            a[part] = vdotq_s32(a[part], vreinterpretq_s8_u8(b[part]), y);
        } else { /* signed bytes only: w - 128 here, and 128 times the sum of x on top */
            int8x16_t shifted = vreinterpretq_s8_u8(veorq_u8(b[part], vdupq_n_u8(128)));
            a[part] = vdotq_s32(vdotq_s32(a[part], shifted, y), vdupq_n_s8(127), y);
            a[part] = vdotq_s32(a[part], vdupq_n_s8(1), y);
        }
    }
    memcpy(&acc, a, sizeof a);
    return acc;
#else
    int8_t y[4];
    memcpy(y, &x, sizeof y);
    for (int lane = 0; lane < LANES; lane++)
        acc[lane] += w[4 * lane] * y[0] + w[4 * lane + 1] * y[1] + w[4 * lane + 2] * y[2] + w[4 * lane + 3] * y[3];
    return acc;
#endif
}

/* Adding and taking away 1.5 * 2^23 rounds to the nearest whole number. */
INLINE f32x16 nearest(f32x16 x) { return (x + 12582912.0f) - 12582912.0f; }

/* exp(x) = (returned + 1) * power for -87 <= x <= 0, smaller x taken for -87. */
INLINE f32x16 exp_parts(f32x16 x, f32x16 *power) {
    x = larger(x, all_f32(-87.0f));
    f32x16 n = nearest(x * 1.44269504088896341f);
    f32x16 r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    f32x16 p = 1.9875691500e-4f * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    *power = (f32x16)((__builtin_convertvector(n, i32x16) + 127) << 23);
    return p * r * r + r;
}

/* exp(x) for x <= 0 (softmax), relative error below 2e-7; below -87 it is 0. */
INLINE f32x16 exp_f32(f32x16 x) {
    f32x16 power, rest = exp_parts(x, &power);
    return (f32x16)((i32x16)((rest + 1.0f) * power) & (x > -87.0f));
}

/* erf(x), absolute error below 3e-7: a quotient of polynomials, saturated beyond 4. */
INLINE f32x16 erf_f32(f32x16 x) {
    f32x16 far = all_f32(4.0f);
    x = -larger(-larger(x, -far), -far);
    f32x16 z = x * x;
    f32x16 p = -2.72614225801306e-10f * z + 2.77068142495902e-08f;
    p = p * z + -2.10102402082508e-06f;
    p = p * z + -5.69250639462346e-05f;
    p = p * z + -7.34990630326855e-04f;
    p = p * z + -2.95459980854025e-03f;
    p = p * z + -1.60960333262415e-02f;
    f32x16 q = -1.45660718464996e-05f * z + -2.13374055278905e-04f;
    q = q * z + -1.68282697438203e-03f;
    q = q * z + -7.37332916720468e-03f;
    q = q * z + -1.42647390514189e-02f;
    return x * p / q;
}

INLINE f32x16 gelu_f32(f32x16 x) { return 0.5f * x * (1.0f + erf_f32(x * 0.70710678118654752f)); }

#endif
