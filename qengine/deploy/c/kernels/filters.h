/// linear_out needs epilogue
struct net_linear_out {
    int32_t filters; /* filters that read the same inputs */
    int32_t taps; /* products of a sum */
    int32_t pixel; /* elements from one pixel of the output to the next */
    int32_t channel; /* elements from one channel of the output to the next */
    int32_t has_shifts; /* 0: that of the epilogue for all; for each filter 1: one of 1 or more, 2: any */
    struct net_epilogue epilogue;
};

/// saturated needs epilogue, dsp
#ifdef NET_SATURATES
/* Whether a code only saturates, at ends that one instruction knows. */
static NET_LEAF int32_t net_is_saturated(const struct net_epilogue *e) {
    const int32_t is_signed = e->low == -128 && e->high == 127;
    return e->fitting == 0 && (is_signed || (e->low == 0 && (e->high == 127 || e->high == 255)));
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
static NET_LEAF int32_t net_linear_code(int32_t sum, const int8_t *shifts, int32_t filter,
    const struct net_linear_out *p) {
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
    const struct net_linear_out *p, int32_t count, int32_t next, const int16_t *columns, const $w_t *w,
    const int32_t *bias, const int8_t *shifts, $y_t *NET_RESTRICT y) {
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
/* All filters at some pixels, whose inputs are gathered in columns: two filters at two pixels at a time, and four
 * filters at the last pixel of an odd number. A filter that is left over stands for two or four. */
static NET_LEAF void net_linear_tile_$w$y(
    const struct net_linear_out *p, int32_t pixels, int32_t next, const int16_t *columns, const $w_t *w,
    const int32_t *bias, const int8_t *shifts, $y_t *NET_RESTRICT y) {
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
    const struct net_linear_out *p, int32_t count, const int16_t *NET_RESTRICT column,
    const int16_t *NET_RESTRICT turned,
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
