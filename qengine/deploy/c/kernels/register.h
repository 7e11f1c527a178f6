/// moved(a) needs epilogue, round_right(a)
/* round(v * 2^-shift), for shifts to either side. */
static NET_LEAF $a_t net_moved_$a($a_t v, int32_t shift, const struct net_epilogue *rounding) {
    if (shift > 0) {
        return net_round_right_$a(v, shift, rounding);
    }
    return ($a_t)(v * ($a_t)(($a_t)1 << -shift));
}

/// accumulator
/* The register of a device that saturates, or cuts products. */
struct net_accumulator {
    struct net_epilogue cut; /* rounding of products that are cut, and the bits that they drop */
    int8_t has_cuts; /* whether the products of each channel drop bits of their own */
    int8_t is_cast; /* whether products saturate, too */
    int8_t saturates; /* whether sums stop at least and most */
    int8_t channels_first; /* order of the taps: windows inside of terms; or terms inside of windows */
    int64_t least;
    int64_t most;
};

/// register_step(x, w, s, a) needs accumulator, nest, moved(a)
/* Adds a product to each sum of a row, as the register does. */
static NET_LEAF void net_register_step_$x$w$s$a(const struct net_accumulator *p, const struct net_loop *lane,
    const $x_t *x, const $w_t *w, const int8_t *cuts, $s_t *NET_RESTRICT sum, int32_t count) {
    int32_t j;
    for (j = 0; j < count; j++) {
        const int32_t cut = p->has_cuts ? cuts[j * lane->shift] : p->cut.shift;
        $a_t term = net_moved_$a(($a_t)(($a_t)x[j * lane->x] * ($a_t)w[j * lane->w]), cut, &p->cut);
        if (p->is_cast) {
            term = term < ($a_t)p->least ? ($a_t)p->least : term;
            term = term > ($a_t)p->most ? ($a_t)p->most : term;
        }
        sum[j] = ($s_t)(sum[j] + ($s_t)term);
        if (p->saturates) {
            sum[j] = sum[j] < ($s_t)p->least ? ($s_t)p->least : sum[j];
            sum[j] = sum[j] > ($s_t)p->most ? ($s_t)p->most : sum[j];
        }
    }
}

/// register_part(x, w, b, s, a, y) needs sums, accumulator, place, register_step(x, w, s, a), codes(s, a, y)
/* A part of a lane: its register begins with the bias, and its codes are written. */
static NET_LEAF void net_register_part_$x$w$b$s$a$y(const struct net_sums *sums, const struct net_accumulator *p,
    const struct net_place *at, const $x_t *x, const $w_t *w, const $b_t *bias, const int8_t *shifts,
    const int8_t *cuts, $y_t *y, int32_t count) {
    const struct net_nest *n = &sums->nest;
    const int32_t outer = p->channels_first ? n->terms : 1;
    const int32_t inner = p->channels_first ? 1 : n->terms;
    $s_t sum[64];
    int32_t i, j, k, o, t;
    for (j = 0; j < count; j++) {
        sum[j] = sums->has_bias ? ($s_t)bias[j * n->lane.bias] : 0;
    }
    for (o = 0; o < outer; o++) {
        for (i = at->span0.first; i < at->span0.last; i++) {
            for (j = at->span1.first; j < at->span1.last; j++) {
                for (k = at->span2.first; k < at->span2.last; k++) {
                    const int32_t xi = at->span0.x + i * at->span0.step + at->span1.x + j * at->span1.step
                        + at->span2.x + k * at->span2.step;
                    const int32_t wi = i * n->window0.w + j * n->window1.w + k * n->window2.w;
                    for (t = o; t < o + inner; t++) {
                        net_register_step_$x$w$s$a(
                            p, &n->lane, x + (xi + t * n->term_x), w + (wi + t * n->term_w), cuts, sum, count);
                    }
                }
            }
        }
    }
    net_codes_$s$a$y(sums, sum, shifts, y, count);
}

/// linear_register(x, w, b, s, a, y) needs locate, register_part(x, w, b, s, a, y)
struct net_linear_register {
    struct net_sums sums;
    struct net_accumulator accumulator;
};

/* y = the codes of bias + x * w in a register that has an order: it saturates, or it cuts products. */
static NET_INLINE void net_linear_register_$x$w$b$s$a$y$o(const struct net_linear_register *p,
    const $x_t *$restrict x, const $w_t *$restrict w, const $b_t *$restrict bias, const int8_t *shifts,
    const int8_t *cuts, $y_t *$restrict y) {
    const struct net_sums *sums = &p->sums;
    const struct net_loop *lane = &sums->nest.lane;
    int32_t number, j;
    for (number = 0; number < net_lanes(&sums->nest); number++) {
        struct net_place at;
        net_locate(&sums->nest, number, &at);
        for (j = 0; j < lane->count; j += sums->block) {
            const int32_t count = lane->count - j < sums->block ? lane->count - j : sums->block;
            const int32_t own = at.shift + j * lane->shift;
            net_register_part_$x$w$b$s$a$y(sums, &p->accumulator, &at, x + (at.x + j * lane->x),
                w + (at.w + j * lane->w),
                sums->has_bias ? bias + (at.bias + j * lane->bias) : bias, sums->has_shifts ? shifts + own : shifts,
                p->accumulator.has_cuts ? cuts + own : cuts, y + (at.y + j * lane->y), count);
        }
    }
}

/// bias(b, y) needs moved(i64)
struct net_bias {
    int32_t outer; /* outer * middle * inner biases are computed */
    int32_t middle;
    int32_t inner;
    int32_t outer_b; /* elements of the tensor from one to the next */
    int32_t middle_b;
    int32_t inner_b;
    int32_t outer_shift; /* elements of the tables of shifts from one to the next */
    int32_t middle_shift;
    int32_t inner_shift;
    struct net_epilogue held; /* rounding to the word of the bias */
    struct net_epilogue cut; /* rounding to the fraction bits of a register */
    int64_t least; /* the word of the bias */
    int64_t most;
    int64_t low; /* ends of a register that saturates */
    int64_t high;
};

/* y[i] = b[i] in the word of biases, then with the fraction bits of the sums, then with those of the register; the
 * table has four numbers for each: the bits that it drops three times, and 1 + the bit that is added at the end, or
 * 0. */
static NET_INLINE void net_bias_$b$y$o(
    const struct net_bias *p, const $b_t *$restrict b, const int8_t *table, $y_t *$restrict y) {
    int32_t i, j, k;
    for (i = 0; i < p->outer; i++) {
        for (j = 0; j < p->middle; j++) {
            for (k = 0; k < p->inner; k++) {
                const int8_t *own = table + 4 * (i * p->outer_shift + j * p->middle_shift + k * p->inner_shift);
                int64_t v = b[i * p->outer_b + j * p->middle_b + k * p->inner_b];
                v = net_moved_i64(v, own[0], &p->held);
                v = v < p->least ? p->least : v;
                v = v > p->most ? p->most : v;
                v = net_moved_i64(v, own[1], &p->held);
                v = net_moved_i64(v, own[2], &p->cut);
                v += own[3] > 0 ? (int64_t)1 << (own[3] - 1) : 0;
                v = v < p->low ? p->low : v;
                v = v > p->high ? p->high : v;
                *y++ = ($y_t)v;
            }
        }
    }
}
