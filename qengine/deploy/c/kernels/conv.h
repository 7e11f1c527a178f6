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
/* sums[2 * i + j] += sum over k of w[i * taps + k] * columns[j * taps + k]: two filters at two pixels. Each element that is
 * read serves two products, and the loop is one that compilers turn into vector code. */
static NET_LEAF void net_dots_2x2_$w(
    const $w_t *NET_RESTRICT w, int32_t next_w, const int16_t *NET_RESTRICT columns, int32_t next, int32_t taps, int32_t *sums) {
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

/// linear_out needs epilogue
struct net_linear_out {
    int32_t filters; /* filters that read the same inputs */
    int32_t taps; /* products of a sum */
    int32_t pixel; /* elements from one pixel of the output to the next */
    int32_t channel; /* elements from one channel of the output to the next */
    int32_t has_shifts; /* 0: the shift of the epilogue for all; 1: one for each filter, 1 or more; 2: any for each filter */
    struct net_epilogue epilogue;
};

/// saturated needs epilogue, dsp
#ifdef NET_SATURATES
/* Whether a code only saturates, at ends that one instruction knows. */
static NET_LEAF int32_t net_is_saturated(const struct net_epilogue *e) {
    return e->fitting == 0 && ((e->low == -128 && e->high == 127) || (e->low == 0 && (e->high == 127 || e->high == 255)));
}
/* The macros of gcc 12 assign what has no sign to what has one. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
static NET_LEAF int32_t net_saturated(int32_t v, const struct net_epilogue *e) {
    if (e->low < 0) {
        return (int32_t)__ssat(v, 8);
    }
    return e->high == 127 ? (int32_t)__usat(v, 7) : (int32_t)__usat(v, 8);
}
#pragma GCC diagnostic pop
#endif

/// linear_code needs saturated, linear_out, requantize(i32), requantize_by(i32), round_right(i32), fit(i32)
/* The code of the sum of a filter. */
static NET_LEAF int32_t net_linear_code(int32_t sum, const int8_t *shifts, int32_t filter, const struct net_linear_out *p) {
#ifdef NET_SATURATES
    if (net_is_saturated(&p->epilogue) && (p->has_shifts == 1 || (p->has_shifts == 0 && p->epilogue.shift > 0))) {
        const int32_t shift = p->has_shifts ? shifts[filter] : p->epilogue.shift;
        return net_saturated(net_round_right_i32(sum, shift, &p->epilogue), &p->epilogue);
    }
#endif
    if (p->has_shifts == 0) {
        return net_requantize_i32(sum, &p->epilogue);
    }
    if (p->has_shifts == 1) {
        return net_fit_i32(net_round_right_i32(sum, shifts[filter], &p->epilogue), &p->epilogue);
    }
    return net_requantize_by_i32(sum, shifts[filter], &p->epilogue);
}

/// some_filters(w, y) needs linear_code, dots_2x4(w)
#ifdef NET_VECTORS
/* Up to NET_FILTERS filters at four pixels: first all sums, and then their codes, in vectors of filters. */
static NET_LEAF void net_some_filters_$w$y(
    const struct net_linear_out *p, int32_t count, int32_t next, const int16_t *columns, const $w_t *w, const int32_t *bias,
    const int8_t *shifts, $y_t *NET_RESTRICT y) {
    int32_t sums[4 * NET_FILTERS];
    int32_t filter, pixel;
    for (filter = 0; filter + 1 < count; filter += 2) {
        net_dots_2x4_$w(w + filter * p->taps, p->taps, columns, next, p->taps, sums + filter);
    }
    if (count % 2 != 0) {
        net_dots_2x4_$w(w + (count - 1) * p->taps, 0, columns, next, p->taps, sums + count - 1);
    }
    for (pixel = 0; pixel < 4; pixel++) {
        for (filter = 0; filter < count; filter++) {
            const int32_t sum = sums[pixel * NET_FILTERS + filter] + bias[filter];
            y[pixel * p->pixel + filter * p->channel] = ($y_t)net_linear_code(sum, shifts, filter, p);
        }
    }
}
#endif

/// linear_tile(w, y) needs linear_code, some_filters(w, y), dots_2x2(w), dots_4x1(w)
/* All filters at some pixels, whose inputs are gathered in columns: two filters at two pixels at a time, and four filters
 * at the last pixel of an odd number. A filter that is left over stands for two or four. */
static NET_LEAF void net_linear_tile_$w$y(
    const struct net_linear_out *p, int32_t pixels, int32_t next, const int16_t *columns, const $w_t *w, const int32_t *bias,
    const int8_t *shifts, $y_t *NET_RESTRICT y) {
    int32_t pixel = 0, filter, i;
#ifdef NET_VECTORS
    for (; pixel + 3 < pixels; pixel += 4) {
        const int16_t *const c = columns + pixel * next;
        $y_t *const to = y + pixel * p->pixel;
        const int32_t rest = p->filters % NET_FILTERS;
        for (filter = 0; filter + NET_FILTERS <= p->filters; filter += NET_FILTERS) {
            net_some_filters_$w$y(
                p, NET_FILTERS, next, c, w + filter * p->taps, bias + filter, p->has_shifts ? shifts + filter : shifts,
                to + filter * p->channel);
        }
        if (rest != 0) {
            net_some_filters_$w$y(
                p, rest, next, c, w + filter * p->taps, bias + filter, p->has_shifts ? shifts + filter : shifts,
                to + filter * p->channel);
        }
    }
#endif
    for (; pixel + 1 < pixels; pixel += 2) {
        const int16_t *const c = columns + pixel * next;
        $y_t *const y0 = y + pixel * p->pixel, *const y1 = y0 + p->pixel;
        for (filter = 0; filter + 1 < p->filters; filter += 2) {
            int32_t s[4];
            s[0] = s[1] = bias[filter];
            s[2] = s[3] = bias[filter + 1];
            net_dots_2x2_$w(w + filter * p->taps, p->taps, c, next, p->taps, s);
            y0[filter * p->channel] = ($y_t)net_linear_code(s[0], shifts, filter, p);
            y1[filter * p->channel] = ($y_t)net_linear_code(s[1], shifts, filter, p);
            y0[(filter + 1) * p->channel] = ($y_t)net_linear_code(s[2], shifts, filter + 1, p);
            y1[(filter + 1) * p->channel] = ($y_t)net_linear_code(s[3], shifts, filter + 1, p);
        }
        if (filter < p->filters) { /* the last filter of an odd number */
            int32_t s[4];
            s[0] = s[1] = s[2] = s[3] = bias[filter];
            net_dots_2x2_$w(w + filter * p->taps, 0, c, next, p->taps, s);
            y0[filter * p->channel] = ($y_t)net_linear_code(s[0], shifts, filter, p);
            y1[filter * p->channel] = ($y_t)net_linear_code(s[1], shifts, filter, p);
        }
    }
    if (pixel < pixels) {
        const int16_t *const c = columns + pixel * next;
        $y_t *const last = y + pixel * p->pixel;
        for (filter = 0; filter + 3 < p->filters; filter += 4) {
            int32_t s[4];
            for (i = 0; i < 4; i++) {
                s[i] = bias[filter + i];
            }
            net_dots_4x1_$w(w + filter * p->taps, p->taps, c, p->taps, s);
            for (i = 0; i < 4; i++) {
                last[(filter + i) * p->channel] = ($y_t)net_linear_code(s[i], shifts, filter + i, p);
            }
        }
        for (i = 0; i < p->filters % 4; i++) {
            const int32_t one = p->filters - 1 - i;
            int32_t s[4];
            s[0] = s[1] = s[2] = s[3] = bias[one];
            net_dots_4x1_$w(w + one * p->taps, 0, c, p->taps, s);
            last[one * p->channel] = ($y_t)net_linear_code(s[0], shifts, one, p);
        }
    }
}

/// window_shape
struct net_window_shape {
    int32_t planes; /* channels one after the other, or 1 where a cell holds all channels of a pixel */
    int32_t plane; /* elements of the input from one plane to the next */
    int32_t cell; /* channels of a pixel that a column holds side by side */
    int32_t cell_step; /* elements of the input from one of them to the next */
    int32_t height; /* of the input */
    int32_t width;
    int32_t row; /* elements of the input from one row to the next */
    int32_t column;
    int32_t kernel_height;
    int32_t kernel_width;
    int32_t stride_down;
    int32_t stride_right;
    int32_t dilation_down;
    int32_t dilation_right;
    int32_t pad_top;
    int32_t pad_left;
    int32_t padding; /* elements at the end of a column that meet weights of 0, for an even number of taps */
    int32_t is_joined; /* whether the cells that a kernel meets in a row lie side by side */
    int32_t zero; /* number that is taken from each code, so that 16 bits hold it */
    int32_t fours; /* order of elements for instructions of pairs: 0 as they are, 1 changed in each run, 2 in the column */
};

/// spread(x) needs words
/* count elements of the input, less zero, as 16 bits. */
static NET_LEAF void net_spread_$x(const $x_t *x, int32_t step, int32_t count, int32_t zero, int32_t fours, int16_t *column) {
    int32_t i = 0;
#ifdef NET_DSP
    if (fours == 1 && sizeof($x_t) == 1 && step == 1 && zero == 0) {
        for (; i + 4 <= count; i += 4) {
            const int32_t word = net_word(x + i);
            const int32_t next = (int32_t)((uint32_t)word >> 8);
            const int32_t is_signed = ($x_t)-1 < 1;
            net_put_word(column + i, is_signed ? __sxtb16(word) : (int32_t)((uint32_t)word & 0xFF00FFU));
            net_put_word(column + i + 2, is_signed ? __sxtb16(next) : (int32_t)((uint32_t)next & 0xFF00FFU));
        }
    } else if (fours == 1) {
        for (; i + 4 <= count; i += 4) {
            column[i] = (int16_t)(x[i * step] - zero);
            column[i + 1] = (int16_t)(x[(i + 2) * step] - zero);
            column[i + 2] = (int16_t)(x[(i + 1) * step] - zero);
            column[i + 3] = (int16_t)(x[(i + 3) * step] - zero);
        }
    }
#else
    (void)fours;
#endif
    for (; i < count; i++) {
        column[i] = (int16_t)(x[i * step] - zero);
    }
}

/// window_column(x) needs window_shape, spread(x)
/* The elements under the kernel of the pixel (down, right) of the output, in the order of the weights. */
static NET_LEAF void net_window_column_$x(const struct net_window_shape *p, const $x_t *x, int32_t down, int32_t right, int16_t *column) {
    const int32_t top = down * p->stride_down - p->pad_top, left = right * p->stride_right - p->pad_left;
    int32_t plane, i, j, k;
    const int32_t last_row = top + (p->kernel_height - 1) * p->dilation_down, run = p->kernel_width * p->cell;
    const int32_t is_in_row = p->is_joined && left >= 0 && left + p->kernel_width <= p->width;
    const int32_t is_whole = is_in_row && top >= 0 && last_row < p->height;
    int16_t *to = column;
    for (plane = 0; is_whole && plane < p->planes; plane++) {
        for (i = 0; i < p->kernel_height; i++) {
            const int32_t from = plane * p->plane + (top + i * p->dilation_down) * p->row + left * p->column;
            net_spread_$x(x + from, 1, run, p->zero, p->fours, to);
            to += run;
        }
    }
    for (plane = 0; !is_whole && plane < p->planes; plane++) {
        for (i = 0; i < p->kernel_height; i++) {
            const int32_t at = top + i * p->dilation_down;
            const int32_t from = plane * p->plane + at * p->row;
            const int32_t is_inside = at >= 0 && at < p->height;
            if (is_in_row && is_inside) {
                net_spread_$x(x + (from + left * p->column), 1, run, p->zero, p->fours, to);
                to += run;
                continue;
            }
            for (j = 0; j < p->kernel_width; j++) {
                const int32_t across = left + j * p->dilation_right;
                if (is_inside && across >= 0 && across < p->width) {
                    net_spread_$x(x + (from + across * p->column), p->cell_step, p->cell, p->zero, p->fours, to);
                } else {
                    for (k = 0; k < p->cell; k++) {
                        to[k] = (int16_t)-p->zero;
                    }
                }
                to += p->cell;
            }
        }
    }
    for (k = 0; k < p->padding; k++) {
        *to++ = 0;
    }
#ifdef NET_DSP
    if (p->fours == 2) {
        for (k = 0; k + 4 <= (int32_t)(to - column); k += 4) {
            const int16_t one = column[k + 1];
            column[k + 1] = column[k + 2];
            column[k + 2] = one;
        }
    }
#endif
}

/// few_taps(w, y) needs linear_code
#ifdef NET_VECTORS
#define NET_SUMS 32

/* The weights of filters of few taps with those of the same tap side by side. */
static NET_LEAF void net_turn_$w$y(const struct net_linear_out *p, const $w_t *w, int16_t *NET_RESTRICT turned) {
    int32_t filter, k;
    for (filter = 0; filter < p->filters; filter++) {
        for (k = 0; k < p->taps; k++) {
            turned[k * p->filters + filter] = w[filter * p->taps + k];
        }
    }
}

/* Up to NET_SUMS filters of few taps at one pixel, in vectors of filters, four taps at a time. */
static NET_LEAF void net_few_taps_$w$y(
    const struct net_linear_out *p, int32_t count, const int16_t *NET_RESTRICT column, const int16_t *NET_RESTRICT turned,
    const int32_t *NET_RESTRICT bias, const int8_t *NET_RESTRICT shifts, $y_t *NET_RESTRICT y) {
    int32_t sums[NET_SUMS];
    int32_t i, k;
    for (i = 0; i < count; i++) {
        sums[i] = bias[i];
    }
    for (k = 0; k < p->taps; k += 4) {
        const int16_t *const w0 = turned + k * p->filters, *const w1 = w0 + p->filters;
        const int16_t *const w2 = w1 + p->filters, *const w3 = w2 + p->filters;
        const int32_t c0 = column[k], c1 = column[k + 1], c2 = column[k + 2], c3 = column[k + 3];
        for (i = 0; i < count; i++) {
            sums[i] += c0 * w0[i] + c1 * w1[i] + c2 * w2[i] + c3 * w3[i];
        }
    }
    for (i = 0; i < count; i++) {
        y[i * p->channel] = ($y_t)net_linear_code(sums[i], shifts, i, p);
    }
}

/* All filters of few taps at some pixels. */
static NET_LEAF void net_few_taps_tile_$w$y(
    const struct net_linear_out *p, int32_t pixels, const int16_t *columns, const int16_t *turned, const int32_t *bias,
    const int8_t *shifts, $y_t *y) {
    const int32_t rest = p->filters % NET_SUMS;
    int32_t pixel, filter;
    for (pixel = 0; pixel < pixels; pixel++) {
        const int16_t *const c = columns + pixel * p->taps;
        $y_t *const to = y + pixel * p->pixel;
        for (filter = 0; filter + NET_SUMS <= p->filters; filter += NET_SUMS) {
            net_few_taps_$w$y(
                p, NET_SUMS, c, turned + filter, bias + filter, p->has_shifts ? shifts + filter : shifts,
                to + filter * p->channel);
        }
        if (rest != 0) {
            net_few_taps_$w$y(
                p, rest, c, turned + filter, bias + filter, p->has_shifts ? shifts + filter : shifts,
                to + filter * p->channel);
        }
    }
}
#endif

/// conv(x, w, y) needs window_column(x), linear_tile(w, y), few_taps(w, y)
struct net_conv {
    int32_t images;
    int32_t image_x; /* elements from one image to the next */
    int32_t image_y;
    int32_t groups;
    int32_t group_x; /* elements from one group of channels to the next */
    int32_t group_y;
    int32_t height; /* of the output */
    int32_t width;
    int32_t row_y; /* elements from one row of the output to the next */
    int32_t band; /* pixels that are gathered at a time */
    int32_t by_rows; /* whether a band ends with its row, as rows do not follow each other */
    int32_t is_turned; /* whether vectors hold filters, as they have few taps; weights are turned after the columns */
    struct net_window_shape gather;
    struct net_linear_out out;
};

/* A convolution: the inputs of a few pixels are gathered in columns of 16 bits, and all filters of the group are applied. */
static NET_INLINE void net_conv_$x$w$y$o(
    const struct net_conv *p, const $x_t *$restrict x, const $w_t *w, const int32_t *bias, const int8_t *shifts,
    int16_t *NET_RESTRICT columns, $y_t *$restrict y) {
    const int32_t taps = p->out.taps, pixels = p->height * p->width;
    int32_t image, group, i;
    for (image = 0; image < p->images; image++) {
        for (group = 0; group < p->groups; group++) {
            const $x_t *const from = x + image * p->image_x + group * p->group_x;
            $y_t *const to = y + image * p->image_y + group * p->group_y;
            const int32_t filter = group * p->out.filters;
            const $w_t *const v = w + filter * taps;
            const int8_t *const s = p->out.has_shifts ? shifts + filter : shifts;
            int32_t down = 0, right = 0, pixel = 0;
#ifdef NET_VECTORS
            if (p->is_turned) {
                net_turn_$w$y(&p->out, v, columns + p->band * taps);
            }
#endif
            while (pixel < pixels) {
                const int32_t left = p->by_rows ? p->width - right : pixels - pixel;
                const int32_t count = left < p->band ? left : p->band;
                $y_t *const at = to + down * p->row_y + right * p->out.pixel;
                for (i = 0; i < count; i++) {
                    net_window_column_$x(&p->gather, from, down, right, columns + i * taps);
                    right++;
                    if (right == p->width) {
                        right = 0;
                        down++;
                    }
                }
                pixel += count;
#ifdef NET_VECTORS
                if (p->is_turned) {
                    net_few_taps_tile_$w$y(&p->out, count, columns, columns + p->band * taps, bias + filter, s, at);
                    continue;
                }
#endif
                net_linear_tile_$w$y(&p->out, count, taps, columns, v, bias + filter, s, at);
            }
        }
    }
}
