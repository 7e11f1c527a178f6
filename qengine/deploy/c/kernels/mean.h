/// mean_loop
struct net_mean_loop {
    int32_t count;
    int32_t x; /* elements from one step to the next in the input and in the output */
    int32_t y;
};

/// mean_window
struct net_mean_window {
    int32_t count; /* outputs along the axis */
    int32_t y; /* elements from one to the next */
    int32_t step; /* positions of the input from one window to the next */
    int32_t before; /* positions of the padding before the input */
    int32_t taps; /* of a window, and positions from one to the next */
    int32_t dilation;
    int32_t size; /* positions of the input, and elements from one to the next */
    int32_t x;
};

/// mean_lines needs mean_loop, mean_window
struct net_mean_lines {
    struct net_mean_loop stack0; /* loops over outputs without windows */
    struct net_mean_loop stack1;
    struct net_mean_loop lane; /* outputs that are computed side by side */
    struct net_mean_window window0;
    struct net_mean_window window1;
    struct net_mean_window window2;
};

/// mean_taps
struct net_mean_taps {
    int32_t x; /* elements before the first tap that is in the input */
    int32_t count;
};

/* The taps of output o that are in the input. */
static NET_LEAF struct net_mean_taps net_mean_taps_in(const struct net_mean_window *w, int32_t o) {
    const int32_t start = o * w->step - w->before;
    const int32_t first = start < 0 ? (w->dilation - 1 - start) / w->dilation : 0;
    const int32_t room = w->size - start;
    const int32_t inside = room > 0 ? (room + w->dilation - 1) / w->dilation : 0;
    const int32_t end = inside < w->taps ? inside : w->taps;
    struct net_mean_taps found;
    found.x = (start + first * w->dilation) * w->x;
    found.count = end > first ? end - first : 0;
    return found;
}

/// mean_sums(x, a) needs mean_lines, mean_taps
/* The sums over one window for `lanes` neighbouring outputs. */
static NET_LEAF void net_mean_sums_$x$a(const struct net_mean_lines *p, const $x_t *x, int32_t o0, int32_t o1,
    int32_t o2, int32_t lanes, $a_t *sums) {
    const struct net_mean_taps t0 = net_mean_taps_in(&p->window0, o0);
    const struct net_mean_taps t1 = net_mean_taps_in(&p->window1, o1);
    const struct net_mean_taps t2 = net_mean_taps_in(&p->window2, o2);
    const $x_t *start = x + t0.x + t1.x + t2.x;
    const int32_t d0 = p->window0.dilation * p->window0.x;
    const int32_t d1 = p->window1.dilation * p->window1.x;
    const int32_t d2 = p->window2.dilation * p->window2.x;
    int32_t k0;
    int32_t k1;
    int32_t k2;
    int32_t c;
    if (p->lane.x == 1) {
        for (c = 0; c < lanes; c++) {
            sums[c] = 0;
        }
        for (k0 = 0; k0 < t0.count; k0++) {
            for (k1 = 0; k1 < t1.count; k1++) {
                for (k2 = 0; k2 < t2.count; k2++) {
                    const $x_t *at = start + k0 * d0 + k1 * d1 + k2 * d2;
                    for (c = 0; c < lanes; c++) {
                        sums[c] += ($a_t)at[c];
                    }
                }
            }
        }
    } else {
        for (c = 0; c < lanes; c++) {
            $a_t sum = 0;
            for (k0 = 0; k0 < t0.count; k0++) {
                for (k1 = 0; k1 < t1.count; k1++) {
                    const $x_t *at = start + c * p->lane.x + k0 * d0 + k1 * d1;
                    for (k2 = 0; k2 < t2.count; k2++) {
                        sum += ($a_t)at[k2 * d2];
                    }
                }
            }
            sums[c] = sum;
        }
    }
}

/// mean_divider
/* The numbers of a division; see `net_mean_quotient`. */
enum net_mean_divider {
    NET_ADDEND, /* of sums from 0 on */
    NET_NEGATIVE_ADDEND, /* of negative sums */
    NET_SCALE,
    NET_DIVISOR,
    NET_TIES, /* 1: an odd quotient without remainder is one too high */
    NET_MULTIPLIER,
    NET_SHIFT,
    NET_WHOLE,
    NET_MEAN_NUMBERS
};

/// mean_quotient(a) needs mean_divider
/* round(total * scale / divisor), as a number to which something was added, rounded down. The division is a
 * multiplication by numbers that were proved to be exact for all sums; `whole` quotients make all numbers positive. */
static NET_LEAF $a_t net_mean_quotient_$a($a_t total, const $a_t *d, int32_t multiplies, int32_t is_wide) {
    const $a_t addend = total < 0 ? d[NET_NEGATIVE_ADDEND] : d[NET_ADDEND];
    if (multiplies) {
        const uint32_t t = (uint32_t)total * (uint32_t)d[NET_SCALE] + (uint32_t)addend;
        const uint32_t m = (uint32_t)d[NET_MULTIPLIER];
        uint32_t q = is_wide ? (uint32_t)(((uint64_t)t * m) >> d[NET_SHIFT]) : (uint32_t)(t * m) >> d[NET_SHIFT];
        q -= q & (uint32_t)d[NET_TIES] & (uint32_t)((uint32_t)(q * (uint32_t)d[NET_DIVISOR]) == t);
        return ($a_t)((int32_t)q - (int32_t)d[NET_WHOLE]);
    } else {
        const $a_t t = ($a_t)(total * d[NET_SCALE] + addend);
        $a_t q = ($a_t)(t / d[NET_DIVISOR]);
        const $a_t rest = ($a_t)(t - q * d[NET_DIVISOR]);
        q = ($a_t)(q - (rest < 0));
        return ($a_t)(q - (rest == 0 ? q & d[NET_TIES] : 0));
    }
}

/// mean_register(a)
/* The low bits of a number, as a register keeps them. */
static NET_LEAF $a_t net_mean_register_$a($a_t v, int32_t bits) {
    const $a_t sign = ($a_t)(($a_t)1 << (bits - 1));
    return ($a_t)(((v & ($a_t)(sign - 1 + sign)) ^ sign) - sign);
}

/// mean(x, y, a) needs mean_sums(x, a), mean_quotient(a), mean_register(a), requantize(a)
struct net_mean {
    struct net_mean_lines at;
    int32_t multiplies; /* whether quotients are products, and whether these have 64 bits */
    int32_t is_wide;
    int32_t register_scale; /* of sums in a register that has more fraction bits than the input */
    int32_t register_bits; /* that a register keeps; 0: all */
    struct net_epilogue epilogue;
};

/* Sums over windows, each divided by the count of its elements. `rows` has for each position of an output along its
 * three axes a number; their sum is the row of `dividers` for its count. Without `rows` there is one count. */
static NET_INLINE void net_mean_$x$y$a$o(const struct net_mean *p, const $x_t *$restrict x, const int16_t *rows,
    const $a_t *dividers, $y_t *$restrict y) {
    const struct net_mean_lines *at = &p->at;
    int32_t i0;
    int32_t i1;
    int32_t o0;
    int32_t o1;
    int32_t o2;
    int32_t lane;
    for (i0 = 0; i0 < at->stack0.count; i0++) {
        for (i1 = 0; i1 < at->stack1.count; i1++) {
            for (o0 = 0; o0 < at->window0.count; o0++) {
                for (o1 = 0; o1 < at->window1.count; o1++) {
                    for (o2 = 0; o2 < at->window2.count; o2++) {
                        const $x_t *from = x + i0 * at->stack0.x + i1 * at->stack1.x;
                        $y_t *to = y + i0 * at->stack0.y + i1 * at->stack1.y + o0 * at->window0.y + o1 * at->window1.y
                            + o2 * at->window2.y;
                        const $a_t *d = dividers;
                        if (rows) {
                            const int32_t second = at->window0.count;
                            const int32_t third = second + at->window1.count;
                            d += (rows[o0] + rows[second + o1] + rows[third + o2]) * (int32_t)NET_MEAN_NUMBERS;
                        }
                        for (lane = 0; lane < at->lane.count; lane += 64) {
                            const int32_t left = at->lane.count - lane;
                            const int32_t lanes = left < 64 ? left : 64;
                            $a_t sums[64];
                            int32_t c;
                            net_mean_sums_$x$a(at, from + lane * at->lane.x, o0, o1, o2, lanes, sums);
                            for (c = 0; c < lanes; c++) {
                                $a_t total = sums[c];
                                if (p->register_bits != 0) {
                                    total = net_mean_register_$a(($a_t)(total * p->register_scale), p->register_bits);
                                }
                                to[(lane + c) * at->lane.y] = ($y_t)net_requantize_$a(
                                    net_mean_quotient_$a(total, d, p->multiplies, p->is_wide), &p->epilogue);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// float24
/* The float32 number nearest to an integer, ties to even: it has 24 bits. */
static NET_LEAF int64_t net_float24(int64_t v) {
    uint64_t u = v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v;
    int32_t drop = 0;
    while ((u >> drop) >> 24 != 0) {
        drop++;
    }
    if (drop > 0) {
        const uint64_t half = (uint64_t)1 << (drop - 1);
        const uint64_t rest = u & (half - 1U + half);
        u = u >> drop;
        u = (u + (uint64_t)(rest > half || (rest == half && (u & 1U) != 0))) << drop;
    }
    return v < 0 ? -(int64_t)u : (int64_t)u;
}

/// mean_float(x, y, a) needs mean_sums(x, a), float24, requantize_by(i64)
struct net_mean_float {
    struct net_mean_lines at;
    int32_t adds_half; /* rounds half up as the floor of the float32 number that is a half more */
    struct net_epilogue epilogue;
};

/* Means in float32, by integers: the sum times the reciprocal of the count, each rounded to 24 bits. Each row of
 * `reciprocals` is an integer, and the bits that the product drops. */
static NET_INLINE void net_mean_float_$x$y$a$o(const struct net_mean_float *p, const $x_t *$restrict x,
    const int16_t *rows, const int64_t *reciprocals, $y_t *$restrict y) {
    const struct net_mean_lines *at = &p->at;
    int32_t i0;
    int32_t i1;
    int32_t o0;
    int32_t o1;
    int32_t o2;
    int32_t lane;
    for (i0 = 0; i0 < at->stack0.count; i0++) {
        for (i1 = 0; i1 < at->stack1.count; i1++) {
            for (o0 = 0; o0 < at->window0.count; o0++) {
                for (o1 = 0; o1 < at->window1.count; o1++) {
                    for (o2 = 0; o2 < at->window2.count; o2++) {
                        const $x_t *from = x + i0 * at->stack0.x + i1 * at->stack1.x;
                        $y_t *to = y + i0 * at->stack0.y + i1 * at->stack1.y + o0 * at->window0.y + o1 * at->window1.y
                            + o2 * at->window2.y;
                        const int64_t *d = reciprocals;
                        if (rows) {
                            const int32_t second = at->window0.count;
                            const int32_t third = second + at->window1.count;
                            d += (rows[o0] + rows[second + o1] + rows[third + o2]) * 2;
                        }
                        for (lane = 0; lane < at->lane.count; lane++) {
                            const int32_t shift = (int32_t)d[1];
                            int64_t v;
                            $a_t sum;
                            net_mean_sums_$x$a(at, from + lane * at->lane.x, o0, o1, o2, 1, &sum);
                            v = net_float24(net_float24((int64_t)sum) * d[0]);
                            if (p->adds_half) {
                                v = net_float24(v + ((int64_t)1 << (shift - 1)));
                            }
                            to[lane * at->lane.y] = ($y_t)net_requantize_by_i64(v, shift, &p->epilogue);
                        }
                    }
                }
            }
        }
    }
}

/// mean_pass(x, a) needs mean_quotient(a), requantize(a)
struct net_mean_pass {
    int32_t lines0; /* loops over the lines, and elements from one to the next */
    int32_t lines1;
    int32_t lines2;
    int32_t line0;
    int32_t line1;
    int32_t line2;
    int32_t step; /* elements of a line from one to the next */
    int32_t size; /* elements of a line that are in the input */
    int32_t count; /* outputs of a line */
    int32_t taps; /* of a window */
    int32_t stride; /* from one window to the next */
    int32_t before; /* padding */
    int32_t multiplies; /* see `net_mean` */
    int32_t is_wide;
    struct net_epilogue epilogue;
};

/* Means along lines, each output written over the line that it is computed from, before the next one is read. A window
 * that begins before the line begins at the place of its output. `rows` are the dividers of the outputs. */
static NET_INLINE void net_mean_pass_$x$a(
    const struct net_mean_pass *p, $x_t *x, const int16_t *rows, const $a_t *dividers) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t o;
    for (i0 = 0; i0 < p->lines0; i0++) {
        for (i1 = 0; i1 < p->lines1; i1++) {
            for (i2 = 0; i2 < p->lines2; i2++) {
                $x_t *line = x + i0 * p->line0 + i1 * p->line1 + i2 * p->line2;
                for (o = 0; o < p->count; o++) {
                    const int32_t begin = o * p->stride - p->before;
                    const int32_t start = begin < 0 ? o : begin;
                    int32_t end = begin + p->taps < p->size ? begin + p->taps : p->size;
                    $a_t sum = 0;
                    int32_t k;
                    end = end > start ? end : start + 1;
                    for (k = start; k < end; k++) {
                        sum += ($a_t)line[k * p->step];
                    }
                    sum = net_mean_quotient_$a(
                        sum, dividers + rows[o] * (int32_t)NET_MEAN_NUMBERS, p->multiplies, p->is_wide);
                    line[o * p->step] = ($x_t)net_requantize_$a(sum, &p->epilogue);
                }
            }
        }
    }
}
