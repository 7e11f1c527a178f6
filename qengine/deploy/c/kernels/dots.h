/// dsp
/* Cortex-M4 and above multiply and add two pairs of 16 bits at once. gcc does not find these instructions by itself. */
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && !defined(__ARM_BIG_ENDIAN) && !defined(__ARM_NEON)
#include <arm_acle.h>
#define NET_DSP
#if defined(__GNUC__) && defined(__ARM_FEATURE_SAT)
#define NET_SATURATES
#endif
#if defined(__GNUC__)
#define NET_KEEP_ORDER __asm__ volatile("" ::: "memory")
#else
#define NET_KEEP_ORDER (void)0
#endif
#elif (defined(__arm__) && !defined(__ARM_NEON) && !defined(__ARM_FEATURE_MVE)) || defined(__riscv) || defined(__AVR__)
#define NET_NO_VECTORS /* loops are unrolled by hand where the compiler has no vectors for them */
#else
#define NET_VECTORS
#endif

/// words needs dsp
#ifdef NET_DSP
/* Four bytes as one number; the built-in copy stays an instruction where -ffreestanding forbids the others. */
static NET_LEAF int32_t net_word(const void *at) {
    int32_t word;
    __builtin_memcpy(&word, at, sizeof word);
    return word;
}
static NET_LEAF void net_put_word(void *at, int32_t word) {
    __builtin_memcpy(at, &word, sizeof word);
}
/* The bytes 0 and 2, or 1 and 3, of a word as two signed numbers of 16 bits. */
static NET_LEAF int32_t net_even_bytes(int32_t word) {
    return __sxtb16(word);
}
static NET_LEAF int32_t net_odd_bytes(int32_t word) {
    return __sxtb16((int32_t)((uint32_t)word >> 8));
}
#endif

/// fours_2x2 needs words
#ifdef NET_DSP
/* Four taps of two filters at two pixels; columns hold the elements 0, 2, 1, 3 of each four. */
static NET_LEAF void net_fours_2x2(const void *w, const void *v, const int16_t *c, const int16_t *d, int32_t *s) {
    const int32_t w4 = net_word(w), v4 = net_word(v);
    const int32_t w02 = net_even_bytes(w4), w13 = net_odd_bytes(w4);
    const int32_t v02 = net_even_bytes(v4), v13 = net_odd_bytes(v4);
    const int32_t c02 = net_word(c), c13 = net_word(c + 2), d02 = net_word(d), d13 = net_word(d + 2);
    s[0] = __smlad(w02, c02, s[0]);
    s[1] = __smlad(w02, d02, s[1]);
    s[2] = __smlad(v02, c02, s[2]);
    s[3] = __smlad(v02, d02, s[3]);
    s[0] = __smlad(w13, c13, s[0]);
    s[1] = __smlad(w13, d13, s[1]);
    s[2] = __smlad(v13, c13, s[2]);
    s[3] = __smlad(v13, d13, s[3]);
}
#endif

/// dots_2x4(w) needs dsp
#ifdef NET_VECTORS
#define NET_FILTERS 16

/* sums[i + NET_FILTERS * j] = sum over k of w[i * next_w + k] * columns[j * next + k]: two filters at four pixels, for
 * machines with many vectors. */
static NET_LEAF void net_dots_2x4_$w(
    const $w_t *NET_RESTRICT w, int32_t next_w, const int16_t *NET_RESTRICT columns, int32_t next, int32_t taps,
    int32_t *NET_RESTRICT sums) {
    const $w_t *const v = w + next_w;
    const int16_t *const c1 = columns + next, *const c2 = c1 + next, *const c3 = c2 + next;
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0, k;
    for (k = 0; k < taps; k++) {
        a0 += (int32_t)w[k] * columns[k];
        a1 += (int32_t)w[k] * c1[k];
        a2 += (int32_t)w[k] * c2[k];
        a3 += (int32_t)w[k] * c3[k];
        b0 += (int32_t)v[k] * columns[k];
        b1 += (int32_t)v[k] * c1[k];
        b2 += (int32_t)v[k] * c2[k];
        b3 += (int32_t)v[k] * c3[k];
    }
    sums[0] = a0;
    sums[1] = b0;
    sums[NET_FILTERS] = a1;
    sums[NET_FILTERS + 1] = b1;
    sums[2 * NET_FILTERS] = a2;
    sums[2 * NET_FILTERS + 1] = b2;
    sums[3 * NET_FILTERS] = a3;
    sums[3 * NET_FILTERS + 1] = b3;
}
#endif

/// dots_2x2(w) needs fours_2x2
/* sums[2 * i + j] += sum over k of w[i * taps + k] * columns[j * taps + k]: two filters at two pixels. Each element
 * that is read serves two products, and the loop is one that compilers turn into vector code. */
static NET_LEAF void net_dots_2x2_$w(
    const $w_t *NET_RESTRICT w, int32_t next_w, const int16_t *NET_RESTRICT columns, int32_t next, int32_t taps,
    int32_t *sums) {
    const $w_t *const v = w + next_w;
    const int16_t *const d = columns + next;
    int32_t s[4], k = 0;
    s[0] = sums[0];
    s[1] = sums[1];
    s[2] = sums[2];
    s[3] = sums[3];
#ifdef NET_DSP
    if (sizeof($w_t) == 1) { /* columns hold the elements 0, 2, 1, 3 of each four */
        for (; k + 8 <= taps; k += 8) {
            net_fours_2x2(w + k, v + k, columns + k, d + k, s);
            NET_KEEP_ORDER; /* loads for the next four would need more registers than there are */
            net_fours_2x2(w + k + 4, v + k + 4, columns + k + 4, d + k + 4, s);
        }
        for (; k + 4 <= taps; k += 4) {
            net_fours_2x2(w + k, v + k, columns + k, d + k, s);
        }
    } else {
        for (; k + 2 <= taps; k += 2) {
            const int32_t w2 = net_word(w + k), v2 = net_word(v + k);
            const int32_t c2 = net_word(columns + k), d2 = net_word(d + k);
            s[0] = __smlad(w2, c2, s[0]);
            s[1] = __smlad(w2, d2, s[1]);
            s[2] = __smlad(v2, c2, s[2]);
            s[3] = __smlad(v2, d2, s[3]);
        }
    }
#elif defined(NET_NO_VECTORS)
#define NET_PRODUCTS(i)                  \
    s[0] += (int32_t)w[i] * columns[i];  \
    s[1] += (int32_t)w[i] * d[i];        \
    s[2] += (int32_t)v[i] * columns[i];  \
    s[3] += (int32_t)v[i] * d[i];
    for (; k + 4 <= taps; k += 4) {
        NET_PRODUCTS(k)
        NET_PRODUCTS(k + 1)
        NET_PRODUCTS(k + 2)
        NET_PRODUCTS(k + 3)
    }
#undef NET_PRODUCTS
#endif
    for (; k < taps; k++) {
        s[0] += (int32_t)w[k] * columns[k];
        s[1] += (int32_t)w[k] * d[k];
        s[2] += (int32_t)v[k] * columns[k];
        s[3] += (int32_t)v[k] * d[k];
    }
    sums[0] = s[0];
    sums[1] = s[1];
    sums[2] = s[2];
    sums[3] = s[3];
}

/// dots_4x1(w) needs words
/* sums[i] += sum over k of w[i * next_w + k] * column[k]: four filters at one pixel. */
static NET_LEAF void net_dots_4x1_$w(
    const $w_t *NET_RESTRICT w, int32_t next_w, const int16_t *NET_RESTRICT column, int32_t taps, int32_t *sums) {
    const $w_t *const w1 = w + next_w, *const w2 = w1 + next_w, *const w3 = w2 + next_w;
    int32_t a = sums[0], b = sums[1], e = sums[2], f = sums[3], k = 0;
#ifdef NET_DSP
    if (sizeof($w_t) == 1) { /* the column holds the elements 0, 2, 1, 3 of each four */
        for (; k + 4 <= taps; k += 4) {
            const int32_t c02 = net_word(column + k), c13 = net_word(column + k + 2);
            int32_t word = net_word(w + k);
            a = __smlad(net_even_bytes(word), c02, a);
            a = __smlad(net_odd_bytes(word), c13, a);
            word = net_word(w1 + k);
            b = __smlad(net_even_bytes(word), c02, b);
            b = __smlad(net_odd_bytes(word), c13, b);
            word = net_word(w2 + k);
            e = __smlad(net_even_bytes(word), c02, e);
            e = __smlad(net_odd_bytes(word), c13, e);
            word = net_word(w3 + k);
            f = __smlad(net_even_bytes(word), c02, f);
            f = __smlad(net_odd_bytes(word), c13, f);
        }
    } else {
        for (; k + 2 <= taps; k += 2) {
            const int32_t c2 = net_word(column + k);
            a = __smlad(net_word(w + k), c2, a);
            b = __smlad(net_word(w1 + k), c2, b);
            e = __smlad(net_word(w2 + k), c2, e);
            f = __smlad(net_word(w3 + k), c2, f);
        }
    }
#elif defined(NET_NO_VECTORS)
#define NET_PRODUCTS(i)                \
    a += (int32_t)w[i] * column[i];    \
    b += (int32_t)w1[i] * column[i];   \
    e += (int32_t)w2[i] * column[i];   \
    f += (int32_t)w3[i] * column[i];
    for (; k + 4 <= taps; k += 4) {
        NET_PRODUCTS(k)
        NET_PRODUCTS(k + 1)
        NET_PRODUCTS(k + 2)
        NET_PRODUCTS(k + 3)
    }
#undef NET_PRODUCTS
#endif
    for (; k < taps; k++) {
        a += (int32_t)w[k] * column[k];
        b += (int32_t)w1[k] * column[k];
        e += (int32_t)w2[k] * column[k];
        f += (int32_t)w3[k] * column[k];
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = e;
    sums[3] = f;
}
