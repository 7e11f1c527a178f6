/// sums
/* What becomes of sums of products, and how they are found. */
struct net_sums {
    struct net_nest nest;
    struct net_epilogue epilogue;
    int8_t kept; /* low bits of a sum that its accumulator keeps; 0: all */
    int8_t has_bias;
    int8_t has_shifts; /* whether each channel drops bits of its own */
    int8_t block; /* outputs of a lane that are summed together, up to 64 */
};

/// settled(s, a)
/* A sum as a signed number. An unsigned one is known modulo 2^bits, and stands for the number of that many bits. */
static NET_LEAF $a_t net_settled_$s$a($s_t v, int32_t bits) {
    const $s_t sign = ($s_t)(($s_t)1 << (bits > 0 ? bits - 1 : 0));
    const $s_t mask = ($s_t)(sign | ($s_t)(sign - 1));
    const $s_t low = ($s_t)(v & mask);
    if (bits == 0) {
        return ($a_t)v;
    }
    return low < sign ? ($a_t)low : ($a_t)(($a_t)-1 - ($a_t)(mask - low));
}

/// codes(s, a, y) needs sums, settled(s, a), requantize_by(a)
/* Writes the codes of a row of sums. */
static NET_LEAF void net_codes_$s$a$y(const struct net_sums *p, const $s_t *sum, const int8_t *shifts, $y_t *y,
    int32_t count) {
    const struct net_epilogue *e = &p->epilogue;
    int32_t j;
    for (j = 0; j < count; j++) {
        const int32_t shift = p->has_shifts ? shifts[j * p->nest.lane.shift] : e->shift;
        y[j * p->nest.lane.y] = ($y_t)net_requantize_by_$a(net_settled_$s$a(sum[j], p->kept), shift, e);
    }
}

/// row(x, w, s) needs nest, place
/* sum[j] += x[j] * w[j], for the products of one place of the windows: four terms at a time. */
static NET_LEAF void net_row_terms_$x$w$s(
    const struct net_nest *n, const $x_t *x, const $w_t *w, $s_t *NET_RESTRICT sum, int32_t count) {
    const int32_t xj = n->lane.x;
    const int32_t wj = n->lane.w;
    const int32_t xt = n->term_x;
    const int32_t wt = n->term_w;
    int32_t t = 0;
    int32_t j;
    for (; t + 4 <= n->terms; t += 4) {
        const $x_t *xs = x + t * xt;
        const $w_t *ws = w + t * wt;
        for (j = 0; j < count; j++) {
            sum[j] = ($s_t)(sum[j] + ($s_t)(($s_t)xs[j * xj] * ($s_t)ws[j * wj])
                + ($s_t)(($s_t)xs[j * xj + xt] * ($s_t)ws[j * wj + wt])
                + ($s_t)(($s_t)xs[j * xj + 2 * xt] * ($s_t)ws[j * wj + 2 * wt])
                + ($s_t)(($s_t)xs[j * xj + 3 * xt] * ($s_t)ws[j * wj + 3 * wt]));
        }
    }
    for (; t < n->terms; t++) {
        const $x_t *xs = x + t * xt;
        const $w_t *ws = w + t * wt;
        for (j = 0; j < count; j++) {
            sum[j] = ($s_t)(sum[j] + ($s_t)(($s_t)xs[j * xj] * ($s_t)ws[j * wj]));
        }
    }
}

/* Adds all products of a row of outputs to their sums. */
static NET_LEAF void net_row_$x$w$s(
    const struct net_nest *n, const struct net_place *at, const $x_t *x, const $w_t *w, $s_t *sum, int32_t count) {
    int32_t i, j, k;
    for (i = at->span0.first; i < at->span0.last; i++) {
        for (j = at->span1.first; j < at->span1.last; j++) {
            for (k = at->span2.first; k < at->span2.last; k++) {
                const int32_t xi = at->span0.x + i * at->span0.step + at->span1.x + j * at->span1.step
                    + at->span2.x + k * at->span2.step;
                const int32_t wi = i * n->window0.w + j * n->window1.w + k * n->window2.w;
                net_row_terms_$x$w$s(n, x + (at->x + xi), w + (at->w + wi), sum, count);
            }
        }
    }
}

/// linear_part(x, w, b, s, a, y) needs sums, row(x, w, s), codes(s, a, y)
/* A part of a lane: its sums begin with the bias, and become codes. */
static NET_LEAF void net_linear_part_$x$w$b$s$a$y(const struct net_sums *p, const struct net_place *at, const $x_t *x,
    const $w_t *w, const $b_t *bias, const int8_t *shifts, $y_t *y, int32_t first, int32_t count) {
    const struct net_loop *lane = &p->nest.lane;
    $s_t sum[64];
    int32_t j;
    for (j = 0; j < count; j++) {
        sum[j] = p->has_bias ? ($s_t)bias[at->bias + (first + j) * lane->bias] : 0;
    }
    net_row_$x$w$s(&p->nest, at, x + first * lane->x, w + first * lane->w, sum, count);
    if (p->has_shifts) {
        shifts += at->shift + first * lane->shift;
    }
    net_codes_$s$a$y(p, sum, shifts, y + (at->y + first * lane->y), count);
}

/// linear_rows(x, w, b, s, a, y) needs sums, locate, linear_part(x, w, b, s, a, y)
struct net_linear_rows {
    struct net_sums sums;
};

/* y = the codes of bias + x * w, a row of sums side by side. */
static NET_INLINE void net_linear_rows_$x$w$b$s$a$y$o(const struct net_linear_rows *p, const $x_t *$restrict x,
    const $w_t *$restrict w, const $b_t *$restrict bias, const int8_t *shifts, $y_t *$restrict y) {
    const struct net_sums *sums = &p->sums;
    const int32_t whole = sums->nest.lane.count / sums->block * sums->block;
    const int32_t rest = sums->nest.lane.count - whole;
    int32_t number, j;
    for (number = 0; number < net_lanes(&sums->nest); number++) {
        struct net_place at;
        net_locate(&sums->nest, number, &at);
        for (j = 0; j < whole; j += sums->block) {
            net_linear_part_$x$w$b$s$a$y(sums, &at, x, w, bias, shifts, y, j, sums->block);
        }
        if (rest > 0) {
            net_linear_part_$x$w$b$s$a$y(sums, &at, x, w, bias, shifts, y, whole, rest);
        }
    }
}

/// dot_terms(x, w, s) needs dsp
/* sum + the products of terms that lie xt and wt elements apart. */
static NET_LEAF $s_t net_dot_terms_$x$w$s(
    const $x_t *x, int32_t xt, const $w_t *w, int32_t wt, int32_t terms, $s_t sum) {
    int32_t t = 0;
#if defined(NET_DSP) || defined(NET_NO_VECTORS)
    for (; t + 4 <= terms; t += 4) {
        sum = ($s_t)(sum + ($s_t)(($s_t)x[0] * ($s_t)w[0]) + ($s_t)(($s_t)x[xt] * ($s_t)w[wt])
            + ($s_t)(($s_t)x[2 * xt] * ($s_t)w[2 * wt]) + ($s_t)(($s_t)x[3 * xt] * ($s_t)w[3 * wt]));
        x += 4 * xt;
        w += 4 * wt;
    }
    for (; t < terms; t++) {
        sum = ($s_t)(sum + ($s_t)(($s_t)*x * ($s_t)*w));
        x += xt;
        w += wt;
    }
#else
    for (; t < terms; t++) {
        sum = ($s_t)(sum + ($s_t)(($s_t)x[t * xt] * ($s_t)w[t * wt]));
    }
#endif
    return sum;
}

/// dot(x, w, s) needs nest, place, dot_terms(x, w, s)
/* The sum of all products of an output. */
static NET_LEAF $s_t net_dot_$x$w$s(
    const struct net_nest *n, const struct net_place *at, const $x_t *x, const $w_t *w, $s_t sum) {
    int32_t i, j, k;
    for (i = at->span0.first; i < at->span0.last; i++) {
        for (j = at->span1.first; j < at->span1.last; j++) {
            for (k = at->span2.first; k < at->span2.last; k++) {
                const $x_t *xs = x + (at->x + at->span0.x + i * at->span0.step + at->span1.x + j * at->span1.step
                    + at->span2.x + k * at->span2.step);
                const $w_t *ws = w + (at->w + i * n->window0.w + j * n->window1.w + k * n->window2.w);
                sum = net_dot_terms_$x$w$s(xs, n->term_x, ws, n->term_w, n->terms, sum);
            }
        }
    }
    return sum;
}

/// linear_dot(x, w, b, s, a, y) needs sums, locate, dot(x, w, s), codes(s, a, y)
struct net_linear_dot {
    struct net_sums sums;
};

/* y = the codes of bias + x * w, one sum after the other. */
static NET_INLINE void net_linear_dot_$x$w$b$s$a$y$o(const struct net_linear_dot *p, const $x_t *$restrict x,
    const $w_t *$restrict w, const $b_t *$restrict bias, const int8_t *shifts, $y_t *$restrict y) {
    const struct net_nest *n = &p->sums.nest;
    int32_t number, j;
    for (number = 0; number < net_lanes(n); number++) {
        struct net_place at;
        net_locate(n, number, &at);
        for (j = 0; j < n->lane.count; j++) {
            $s_t sum = p->sums.has_bias ? ($s_t)bias[at.bias + j * n->lane.bias] : 0;
            const int8_t *own = p->sums.has_shifts ? shifts + (at.shift + j * n->lane.shift) : shifts;
            sum = net_dot_$x$w$s(n, &at, x + j * n->lane.x, w + j * n->lane.w, sum);
            net_codes_$s$a$y(&p->sums, &sum, own, y + (at.y + j * n->lane.y), 1);
        }
    }
}

/// integer_product(x, w, b, s, y) needs nest, locate, dot(x, w, s), settled(s, y)
struct net_integer_product {
    struct net_nest nest;
    int8_t has_bias;
    int8_t bits; /* of a signed result; 0: it is unsigned */
};

/* y = bias + x * w of integers, the low bits of each sum. */
static NET_INLINE void net_integer_product_$x$w$b$s$y$o(const struct net_integer_product *p, const $x_t *$restrict x,
    const $w_t *$restrict w, const $b_t *$restrict bias, $y_t *$restrict y) {
    const struct net_nest *n = &p->nest;
    int32_t number, j;
    for (number = 0; number < net_lanes(n); number++) {
        struct net_place at;
        net_locate(n, number, &at);
        for (j = 0; j < n->lane.count; j++) {
            $s_t sum = p->has_bias ? ($s_t)bias[at.bias + j * n->lane.bias] : 0;
            sum = net_dot_$x$w$s(n, &at, x + j * n->lane.x, w + j * n->lane.w, sum);
            y[at.y + j * n->lane.y] = net_settled_$s$y(sum, p->bits);
        }
    }
}
