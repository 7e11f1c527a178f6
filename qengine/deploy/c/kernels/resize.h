/// resize_axis
struct net_resize_axis {
    int32_t out; /* length of the axis after and before */
    int32_t in;
    int32_t taps; /* cells that an output is a sum of, neighbours; those beyond an end are the cell at the end */
    int32_t period; /* outputs after which the weights repeat, */
    int32_t advance; /* and the cells by which the first one has moved then */
};

/// tap needs resize_axis
/* The cell of a tap of an output, whose first cell is known but for the period. */
static NET_LEAF int32_t net_tap(const struct net_resize_axis *a, int32_t first, int32_t out, int32_t tap) {
    const int32_t cell = first + (out / a->period) * a->advance + tap;
    return cell < 0 ? 0 : cell >= a->in ? a->in - 1 : cell;
}

/// add_tap(x, v)
/* sum += x * weight, or the first product. */
static NET_LEAF void net_add_tap_$x$v(const $x_t *x, int32_t weight, $v_t *sum, int32_t n, int32_t is_first) {
    int32_t i;
    for (i = 0; i < n; i++) {
        sum[i] = ($v_t)((is_first ? ($v_t)0 : sum[i]) + ($v_t)x[i] * ($v_t)weight);
    }
}

/// resize_sums(x, w, v) needs tap, add_tap(x, v)
struct net_resize_sums {
    int32_t outer; /* elements outside and inside of the axis, in memory */
    int32_t inner;
    struct net_resize_axis axis;
};

/* Exact sums over the taps of one axis. */
static NET_INLINE void net_resize_sums_$x$w$v(
    const struct net_resize_sums *p, const $x_t *x, const int16_t *first, const $w_t *weight, $v_t *sum) {
    int32_t o;
    int32_t a;
    int32_t t;
    for (o = 0; o < p->outer; o++) {
        for (a = 0; a < p->axis.out; a++) {
            const int32_t phase = a % p->axis.period;
            $v_t *row = sum + (o * p->axis.out + a) * p->inner;
            for (t = 0; t < p->axis.taps; t++) {
                const int32_t cell = net_tap(&p->axis, (int32_t)first[phase], a, t);
                const int32_t w = (int32_t)weight[phase * p->axis.taps + t];
                net_add_tap_$x$v(x + (o * p->axis.in + cell) * p->inner, w, row, p->inner, t == 0);
            }
        }
    }
}

/// resize_codes(x, w, v, y) needs tap, requantize(v)
struct net_resize_codes {
    int32_t outer; /* elements outside and inside of the axis, in memory */
    int32_t inner;
    struct net_resize_axis axis;
    struct net_epilogue epilogue;
};

/* Sums over the taps of the last axis, rounded once. */
static NET_INLINE void net_resize_codes_$x$w$v$y$o(const struct net_resize_codes *p, const $x_t *$restrict x,
    const int16_t *first, const $w_t *weight, $y_t *$restrict y) {
    int32_t o;
    int32_t a;
    int32_t t;
    int32_t i;
    for (o = 0; o < p->outer; o++) {
        for (a = 0; a < p->axis.out; a++) {
            const int32_t phase = a % p->axis.period;
            const $w_t *w = weight + phase * p->axis.taps;
            const $x_t *row = x + o * p->axis.in * p->inner;
            $y_t *to = y + (o * p->axis.out + a) * p->inner;
            for (i = 0; i < p->inner; i++) {
                $v_t sum = 0;
                for (t = 0; t < p->axis.taps; t++) {
                    const int32_t cell = net_tap(&p->axis, (int32_t)first[phase], a, t);
                    sum = ($v_t)(sum + ($v_t)row[cell * p->inner + i] * ($v_t)w[t]);
                }
                to[i] = ($y_t)net_requantize_$v(sum, &p->epilogue);
            }
        }
    }
}

/// resize_rows(x, w, u, r, v, y) needs add_tap(x, r), resize_codes(r, u, v, y), tap
struct net_resize_rows {
    int32_t outer;
    struct net_resize_axis axis; /* the outer axis; the inner one is that of the codes */
    struct net_resize_codes codes;
};

/* Sums over the taps of two neighbouring axes: a row of exact sums over those of the outer axis, then its sums over
 * those of the inner one, rounded once. */
static NET_INLINE void net_resize_rows_$x$w$u$r$v$y(const struct net_resize_rows *p, const $x_t *$restrict x,
    const int16_t *first, const $w_t *weight, const int16_t *inner_first, const $u_t *inner_weight, $r_t *$restrict row,
    $y_t *$restrict y) {
    const int32_t in = p->codes.outer * p->codes.axis.in * p->codes.inner;
    const int32_t out = p->codes.outer * p->codes.axis.out * p->codes.inner;
    int32_t o;
    int32_t a;
    int32_t t;
    for (o = 0; o < p->outer; o++) {
        for (a = 0; a < p->axis.out; a++) {
            const int32_t phase = a % p->axis.period;
            for (t = 0; t < p->axis.taps; t++) {
                const int32_t cell = net_tap(&p->axis, (int32_t)first[phase], a, t);
                const int32_t w = (int32_t)weight[phase * p->axis.taps + t];
                net_add_tap_$x$r(x + (o * p->axis.in + cell) * in, w, row, in, t == 0);
            }
            net_resize_codes_$r$u$v$y(&p->codes, row, inner_first, inner_weight, y + (o * p->axis.out + a) * out);
        }
    }
}
