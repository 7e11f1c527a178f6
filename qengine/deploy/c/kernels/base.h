/// base
#if defined(__cplusplus)
#define NET_RESTRICT __restrict
#elif defined(__GNUC__) || (defined(__STDC_VERSION__) && __STDC_VERSION__ >= 199901L)
#define NET_RESTRICT restrict
#else
#define NET_RESTRICT
#endif

/* Each call of a kernel passes numbers that the compiler knows. Inlined, it becomes a loop for these numbers; with
 * NET_SMALL all calls share one function. */
#if defined(NET_SMALL)
#define NET_INLINE
#define NET_LEAF inline
#elif defined(__GNUC__)
#define NET_INLINE inline __attribute__((always_inline))
#define NET_LEAF inline __attribute__((always_inline))
#else
#define NET_INLINE inline
#define NET_LEAF inline
#endif

/// asr(a)
/* v / 2^s rounded down; C leaves the shift of a negative number to the compiler. */
static NET_LEAF $a_t net_asr_$a($a_t v, int32_t s) {
    return ($a_t)(v < 0 ? ~(~v >> s) : v >> s);
}

/// epilogue
struct net_epilogue {
    int16_t shift; /* bits that a sum drops; negative: it is multiplied by 2^-shift */
    int8_t halves; /* added to a sum: halves * 2^(shift - 1) + ones + twos, twos only for a shift of 2 or more */
    int8_t ones;
    int8_t twos;
    int8_t parity; /* whether 1 is added where the bit above those that are dropped is set */
    int8_t negative_halves; /* added to a negative sum, as above */
    int8_t negative_ones;
    int8_t negative_twos;
    int8_t fitting; /* 0: saturates at low and high; 1: wraps to bits; 2: 0 where it does not fit in bits */
    int8_t bits;
    int8_t is_signed;
    int32_t low; /* least and most code of the word and of a fused activation */
    int32_t high;
};

/// fit(a) needs epilogue
/* The code of a rounded number: overflow, then the bounds of an activation. */
static NET_LEAF int32_t net_fit_$a($a_t v, const struct net_epilogue *e) {
    if (e->fitting != 0) {
        const int32_t sign = e->is_signed ? (int32_t)((uint32_t)1 << (e->bits - 1)) : 0;
        const int32_t mask = (int32_t)(((uint32_t)1 << e->bits) - 1U);
        if (e->fitting == 1) {
            v = ($a_t)((((int32_t)(v & ($a_t)mask)) ^ sign) - sign);
        } else if (v < ($a_t)-sign || v > ($a_t)(mask - sign)) {
            v = 0;
        }
    }
    v = v < ($a_t)e->low ? ($a_t)e->low : v;
    v = v > ($a_t)e->high ? ($a_t)e->high : v;
    return (int32_t)v;
}

/// shift_left(a) needs epilogue
/* v * 2^k, or a number that overflows to the same code. */
static NET_LEAF $a_t net_shift_left_$a($a_t v, int32_t k, const struct net_epilogue *e) {
    const int32_t most = (int32_t)1 << 17; /* beyond every word */
    const int32_t n = k < 17 ? k : 17;
    const $a_t end = ($a_t)(most >> n);
    if (e->fitting == 1) {
        v = ($a_t)(v & ($a_t)(most - 1));
        v = ($a_t)(v & ($a_t)(end - 1)); /* higher bits leave the word */
        return ($a_t)(v * ($a_t)((int32_t)1 << n));
    }
    v = v < -end ? -end : v;
    v = v > end ? end : v;
    return ($a_t)(v * ($a_t)((int32_t)1 << n));
}

/// round_right(a) needs epilogue, asr(a)
/* round(v * 2^-s) for a shift s of 1 or more; v plus 2^s must not overflow. */
static NET_LEAF $a_t net_round_right_$a($a_t v, int32_t s, const struct net_epilogue *e) {
    const $a_t half = ($a_t)(($a_t)1 << (s - 1));
    const int32_t twos = s > 1;
    $a_t r = ($a_t)(v + half * e->halves + (e->ones + twos * e->twos));
    if (e->parity != 0) {
        r = ($a_t)(r + (net_asr_$a(v, s) & 1));
    }
    if (v < 0) {
        r = ($a_t)(r + half * e->negative_halves + (e->negative_ones + twos * e->negative_twos));
    }
    return net_asr_$a(r, s);
}

/// requantize_by(a) needs epilogue, fit(a), shift_left(a), round_right(a)
/* overflow(round(v * 2^-shift)): the code of an exact sum, with another shift than that of the epilogue. */
static NET_LEAF int32_t net_requantize_by_$a($a_t v, int32_t shift, const struct net_epilogue *e) {
    return net_fit_$a(shift > 0 ? net_round_right_$a(v, shift, e) : net_shift_left_$a(v, -shift, e), e);
}

/// requantize(a) needs requantize_by(a)
/* The code of an exact sum. */
static NET_LEAF int32_t net_requantize_$a($a_t v, const struct net_epilogue *e) {
    return net_requantize_by_$a(v, e->shift, e);
}

/// copy(x)
struct net_copy {
    int32_t size;
};

/* Elements that stay as they are. */
static NET_INLINE void net_copy_$x(const struct net_copy *p, const $x_t *x, $x_t *y) {
    (void)memcpy(y, x, (size_t)p->size * sizeof *y);
}
