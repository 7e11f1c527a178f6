/// zeros(y)
struct net_zeros {
    int32_t size;
};

static NET_INLINE void net_zeros_$y(const struct net_zeros *p, $y_t *y) {
    int32_t i;
    for (i = 0; i < p->size; i++) {
        y[i] = 0;
    }
}

/// states(x, y) needs requantize(i32)
struct net_states {
    int32_t batch;
    int32_t hidden;
    int32_t x_batch; /* elements from a sequence, and from a unit, to the next */
    int32_t x_unit;
    int32_t y_batch;
    int32_t y_unit;
    struct net_epilogue epilogue;
};

/* States in another place and format; of a sequence without a step 0. */
static NET_INLINE void net_states_$x$y(const struct net_states *p, const $x_t *x, const int32_t *lengths, $y_t *y) {
    int32_t b;
    int32_t j;
    for (b = 0; b < p->batch; b++) {
        const int32_t runs = lengths == 0 || lengths[b] > 0;
        for (j = 0; j < p->hidden; j++) {
            const int32_t code = x[b * p->x_batch + j * p->x_unit];
            y[b * p->y_batch + j * p->y_unit] = ($y_t)(runs ? net_requantize_i32(code, &p->epilogue) : 0);
        }
    }
}

/// recurrence
struct net_recurrence {
    int32_t time; /* steps of every sequence, unless they have lengths */
    int32_t batch;
    int32_t size; /* elements of x in a step */
    int32_t hidden; /* units */
    int32_t rows; /* rows of weights: units times gates */
    int32_t reverse; /* whether a sequence is read from its end */
    int32_t x_time; /* elements from a step, a sequence, an element to the next */
    int32_t x_batch;
    int32_t x_unit;
    int32_t y_time;
    int32_t y_batch;
    int32_t y_unit;
    int32_t by_row; /* whether rows have their own shifts: those of x, of h, of sums, then others */
    int8_t x_fours; /* order of elements of x, and of h, in a column; see `net_column` */
    int8_t h_fours;
    int8_t x_up; /* products of x and h are multiplied by 2^up before they are added */
    int8_t h_up;
    int8_t drop; /* bits that sums drop */
    int8_t kept_bits; /* low bits of sums that an accumulator keeps; 0 for all */
    struct net_epilogue gate;
};

/// row_shift needs recurrence
/* A shift of a row: its own, or that of all rows. */
static NET_LEAF int32_t net_row_shift(
    const struct net_recurrence *p, const int8_t *shifts, int32_t part, int32_t row, int32_t of_all) {
    return p->by_row ? shifts[part * p->rows + row] : of_all;
}

/// kept(a) needs recurrence
/* What an accumulator keeps of a sum. */
static NET_LEAF $a_t net_kept_$a(const struct net_recurrence *p, $a_t sum) {
    if (p->kept_bits != 0) {
        const uint64_t sign = (uint64_t)1 << (p->kept_bits - 1);
        const uint64_t low = (uint64_t)sum & (2 * sign - 1);
        return ($a_t)((int64_t)(low ^ sign) - (int64_t)sign);
    }
    return sum;
}

/// gate(a) needs row_shift, kept(a), requantize_by(a)
/* The code of a gate from its sum. */
static NET_LEAF int32_t net_gate_$a(const struct net_recurrence *p, $a_t sum, int32_t row, const int8_t *shifts) {
    return net_requantize_by_$a(net_kept_$a(p, sum), net_row_shift(p, shifts, 2, row, p->drop), &p->gate);
}

/// column(x, v) needs spread(x)
/* Elements of a step side by side, of the type that products read. For instructions of pairs, where weights have 8
 * bits, each four are in the order 0, 2, 1, 3. */
static NET_LEAF void net_column_$x$v(const $x_t *x, int32_t unit, int32_t count, int32_t fours, $v_t *column) {
    int32_t i;
    if (sizeof($v_t) == 2) {
        net_spread_$x(x, unit, count, 0, fours, (int16_t *)(void *)column);
        return;
    }
    for (i = 0; i < count; i++) {
        column[i] = ($v_t)x[i * unit];
    }
}

/// row_dots(v, w, d) needs words, dots_4x1(w)
/* The products of a column and four rows of weights, which are `next` elements apart. */
static NET_LEAF void net_row_dots_$v$w$d(const $w_t *NET_RESTRICT w, int32_t next, const $v_t *NET_RESTRICT column,
    int32_t count, $d_t *NET_RESTRICT dots) {
    $d_t a = 0;
    $d_t b = 0;
    $d_t c = 0;
    $d_t d = 0;
    int32_t k = 0;
    if (sizeof($v_t) == 2 && sizeof($d_t) == 4) {
        int32_t sums[4] = {0, 0, 0, 0};
        net_dots_4x1_$w(w, next, (const int16_t *)(const void *)column, count, sums);
        for (k = 0; k < 4; k++) {
            dots[k] = sums[k];
        }
        return;
    }
#ifdef NET_DSP
    if (sizeof($v_t) == 2 && sizeof($w_t) == 2) {
        for (; k + 2 <= count; k += 2) {
            const int32_t v2 = net_word(column + k);
            a = ($d_t)__smlald(net_word(w + k), v2, a);
            b = ($d_t)__smlald(net_word(w + next + k), v2, b);
            c = ($d_t)__smlald(net_word(w + 2 * next + k), v2, c);
            d = ($d_t)__smlald(net_word(w + 3 * next + k), v2, d);
        }
    }
#endif
    for (; k < count; k++) {
        const $d_t v = column[k];
        a = ($d_t)(a + v * w[k]);
        b = ($d_t)(b + v * w[next + k]);
        c = ($d_t)(c + v * w[2 * next + k]);
        d = ($d_t)(d + v * w[3 * next + k]);
    }
    dots[0] = a;
    dots[1] = b;
    dots[2] = c;
    dots[3] = d;
}

/// add_products(v, w, d, a) needs row_shift, row_dots(v, w, d)
/* sums[i] += (row i of the weights times a column) * 2^up; four rows at once share what they read of the column. */
static NET_INLINE void net_add_products_$v$w$d$a(const struct net_recurrence *p, const $v_t *NET_RESTRICT column,
    int32_t n, const $w_t *NET_RESTRICT w, int32_t first, int32_t count, int32_t part,
    const int8_t *NET_RESTRICT shifts, $a_t *NET_RESTRICT sums) {
    const int32_t of_all = part == 0 ? p->x_up : p->h_up;
    const $w_t *row = w + first * n;
    int32_t rows;
    int32_t i;
    int32_t j;
    for (i = 0; i < count; i += rows) {
        $d_t dots[4] = {0, 0, 0, 0};
        rows = i + 4 <= count ? 4 : 1; /* of the last rows each by itself, as if it were four */
        net_row_dots_$v$w$d(row, rows == 4 ? n : 0, column, n, dots);
        for (j = 0; j < rows; j++) {
            sums[i + j] += ($a_t)(dots[j] * (($a_t)1 << net_row_shift(p, shifts, part, first + i + j, of_all)));
        }
        row += rows * n;
    }
}

/// biases(a)
/* The sums of some rows before their products. */
static NET_LEAF void net_biases_$a(const int32_t *bias, int32_t first, int32_t count, $a_t *sums) {
    int32_t i;
    for (i = 0; i < count; i++) {
        sums[i] = bias == 0 ? 0 : bias[first + i];
    }
}

/// step_input(x, v) needs recurrence, column(x, v)
/* The elements of x in a step. */
static NET_LEAF void net_step_input_$x$v(
    const struct net_recurrence *p, const $x_t *x, int32_t t, int32_t b, $v_t *column) {
    net_column_$x$v(x + t * p->x_time + b * p->x_batch, p->x_unit, p->size, p->x_fours, column);
}

/// step_output(h) needs recurrence
static NET_LEAF void net_step_output_$h(const struct net_recurrence *p, const $h_t *h, int32_t t, int32_t b, $h_t *y) {
    int32_t j;
    if (y != 0) {
        for (j = 0; j < p->hidden; j++) {
            y[t * p->y_time + b * p->y_batch + j * p->y_unit] = h[j];
        }
    }
}

/// lstm(x, w, h, r, v, p, c, t, d, a, m, q) needs curve(t), biases(a), step_input(x, v), column(h, v), add_products(v, w, d, a), add_products(v, r, d, a), gate(a), requantize(m), requantize(q), step_output(h)
struct net_lstm {
    struct net_recurrence steps;
    int32_t coupled; /* whether the forget gate is 1 minus the input gate */
    int32_t one; /* entry that stands for 1 */
    struct net_curve f; /* functions of gates, and of the cell */
    struct net_curve g;
    struct net_curve last;
    int8_t p_up; /* products of cell and peepholes are multiplied by 2^up */
    int8_t kept_up; /* likewise the cell that is kept, and what enters it */
    int8_t entered_up;
    struct net_epilogue cell;
    struct net_epilogue state;
};

/* LSTM. f, g and last are tables; h and c hold the states of all sequences, sums the gates of one step. */
static NET_INLINE void net_lstm_$x$w$h$r$v$p$c$t$d$a$m$q(const struct net_lstm *p, const $x_t *x, const $w_t *w,
    const $r_t *r, const int32_t *bias, const $p_t *peepholes, const int8_t *shifts, const int32_t *lengths,
    const $t_t *f, const $t_t *g, const $t_t *last, $a_t *sums, $v_t *column, $c_t *c, $h_t *h, $h_t *y) {
    const struct net_recurrence *s = &p->steps;
    const int32_t n = s->hidden;
    int32_t b;
    int32_t i;
    int32_t j;
    for (b = 0; b < s->batch; b++) {
        const int32_t steps = lengths == 0 ? s->time : lengths[b];
        for (i = 0; i < steps; i++) {
            const int32_t t = s->reverse ? steps - 1 - i : i;
            net_biases_$a(bias, 0, s->rows, sums);
            net_step_input_$x$v(s, x, t, b, column);
            net_add_products_$v$w$d$a(s, column, s->size, w, 0, s->rows, 0, shifts, sums);
            net_column_$h$v(h, 1, n, s->h_fours, column);
            net_add_products_$v$r$d$a(s, column, n, r, 0, s->rows, 1, shifts, sums);
            for (j = 0; j < n; j++) {
                $a_t to_enter = sums[j];
                $a_t to_leave = sums[n + j];
                $a_t to_keep = sums[2 * n + j];
                int32_t enter;
                int32_t keep;
                int32_t fresh;
                int32_t cell;
                int32_t out;
                $m_t total;
                if (peepholes != 0) {
                    const int32_t up = net_row_shift(s, shifts, 3, j, p->p_up);
                    to_enter += ($a_t)(($a_t)c[j] * peepholes[j] * (($a_t)1 << up));
                    to_keep += ($a_t)(($a_t)c[j] * peepholes[2 * n + j] *
                        (($a_t)1 << net_row_shift(s, shifts, 3, 2 * n + j, p->p_up)));
                }
                enter = net_curve_$t(&p->f, f, net_gate_$a(s, to_enter, j, shifts));
                keep = p->coupled ? p->one - enter : net_curve_$t(&p->f, f, net_gate_$a(s, to_keep, 2 * n + j, shifts));
                fresh = net_curve_$t(&p->g, g, net_gate_$a(s, sums[3 * n + j], 3 * n + j, shifts));
                total = ($m_t)(($m_t)keep * c[j] * (($m_t)1 << p->kept_up));
                total = ($m_t)(total + ($m_t)enter * fresh * (($m_t)1 << p->entered_up));
                cell = net_requantize_$m(total, &p->cell);
                if (peepholes != 0) {
                    to_leave += ($a_t)(($a_t)cell * peepholes[n + j] *
                        (($a_t)1 << net_row_shift(s, shifts, 3, n + j, p->p_up)));
                }
                out = net_curve_$t(&p->f, f, net_gate_$a(s, to_leave, n + j, shifts));
                c[j] = ($c_t)cell;
                h[j] = ($h_t)net_requantize_$q(($q_t)(($q_t)out * net_curve_$t(&p->last, last, cell)), &p->state);
            }
            net_step_output_$h(s, h, t, b, y);
        }
        h += n;
        c += n;
    }
}

/// gru(x, w, h, r, v, t, d, a, m, q) needs curve(t), biases(a), step_input(x, v), column(h, v), add_products(v, w, d, a), add_products(v, r, d, a), gate(a), requantize(m), requantize(q), step_output(h)
struct net_gru {
    struct net_recurrence steps;
    int32_t one; /* entry that stands for 1 */
    struct net_curve f; /* functions of gates */
    struct net_curve g;
    int8_t entered_up; /* what enters the state is multiplied by 2^up, and the state that is kept */
    int8_t kept_up;
    struct net_epilogue reset;
    struct net_epilogue state;
};

/* GRU that multiplies the state by its reset gate before the product. kept holds that product, sums the entries of the
 * update gate and then the sums of the hidden gate. */
static NET_INLINE void net_gru_$x$w$h$r$v$t$d$a$m$q(const struct net_gru *p, const $x_t *x, const $w_t *w,
    const $r_t *r,
    const int32_t *bias, const int8_t *shifts, const int32_t *lengths, const $t_t *f, const $t_t *g, $a_t *sums,
    $v_t *column, $h_t *kept, $h_t *h, $h_t *y) {
    const struct net_recurrence *s = &p->steps;
    const int32_t n = s->hidden;
    int32_t b;
    int32_t i;
    int32_t j;
    for (b = 0; b < s->batch; b++) {
        const int32_t steps = lengths == 0 ? s->time : lengths[b];
        for (i = 0; i < steps; i++) {
            const int32_t t = s->reverse ? steps - 1 - i : i;
            net_biases_$a(bias, 0, 2 * n, sums);
            net_step_input_$x$v(s, x, t, b, column);
            net_add_products_$v$w$d$a(s, column, s->size, w, 0, 2 * n, 0, shifts, sums);
            net_column_$h$v(h, 1, n, s->h_fours, column);
            net_add_products_$v$r$d$a(s, column, n, r, 0, 2 * n, 1, shifts, sums);
            for (j = 0; j < n; j++) {
                const int32_t reset = net_curve_$t(&p->f, f, net_gate_$a(s, sums[n + j], n + j, shifts));
                sums[j] = net_curve_$t(&p->f, f, net_gate_$a(s, sums[j], j, shifts));
                kept[j] = ($h_t)net_requantize_$q(($q_t)(($q_t)reset * h[j]), &p->reset);
            }
            net_biases_$a(bias, 2 * n, n, sums + n);
            net_step_input_$x$v(s, x, t, b, column);
            net_add_products_$v$w$d$a(s, column, s->size, w, 2 * n, n, 0, shifts, sums + n);
            net_column_$h$v(kept, 1, n, s->h_fours, column);
            net_add_products_$v$r$d$a(s, column, n, r, 2 * n, n, 1, shifts, sums + n);
            for (j = 0; j < n; j++) {
                const int32_t update = (int32_t)sums[j];
                const int32_t fresh = net_curve_$t(&p->g, g, net_gate_$a(s, sums[n + j], 2 * n + j, shifts));
                $m_t total = ($m_t)(($m_t)(p->one - update) * fresh * (($m_t)1 << p->entered_up));
                total = ($m_t)(total + ($m_t)update * h[j] * (($m_t)1 << p->kept_up));
                h[j] = ($h_t)net_requantize_$m(total, &p->state);
            }
            net_step_output_$h(s, h, t, b, y);
        }
        h += n;
    }
}

/// gru_after(x, w, h, r, v, t, d, a, b, m) needs curve(t), biases(a), step_input(x, v), column(h, v), add_products(v, w, d, a), add_products(v, r, d, a), gate(a), requantize_by(b), requantize(m), step_output(h)
struct net_gru_after {
    struct net_recurrence steps;
    int32_t one; /* entry that stands for 1 */
    struct net_curve f; /* functions of gates */
    struct net_curve g;
    int8_t of_x_up; /* sums of x of the hidden gate are multiplied by 2^up, and those of h times the reset gate */
    int8_t of_h_up;
    int8_t hidden_drop; /* bits that their sum drops */
    int8_t entered_up; /* what enters the state is multiplied by 2^up, and the state that is kept */
    int8_t kept_up;
    struct net_epilogue state;
};

/* GRU that multiplies by its reset gate after the product. sums holds those of the update, the reset and the hidden
 * gate, of the latter first those of x, then those of h. */
static NET_INLINE void net_gru_after_$x$w$h$r$v$t$d$a$b$m(const struct net_gru_after *p, const $x_t *x, const $w_t *w,
    const $r_t *r, const int32_t *bias, const int32_t *own_bias, const int8_t *shifts, const int32_t *lengths,
    const $t_t *f, const $t_t *g, $a_t *sums, $v_t *column, $h_t *h, $h_t *y) {
    const struct net_recurrence *s = &p->steps;
    const int32_t n = s->hidden;
    int32_t b;
    int32_t i;
    int32_t j;
    for (b = 0; b < s->batch; b++) {
        const int32_t steps = lengths == 0 ? s->time : lengths[b];
        for (i = 0; i < steps; i++) {
            const int32_t t = s->reverse ? steps - 1 - i : i;
            net_biases_$a(bias, 0, 3 * n, sums);
            net_biases_$a(own_bias, 0, n, sums + 3 * n);
            net_step_input_$x$v(s, x, t, b, column);
            net_add_products_$v$w$d$a(s, column, s->size, w, 0, 3 * n, 0, shifts, sums);
            net_column_$h$v(h, 1, n, s->h_fours, column);
            net_add_products_$v$r$d$a(s, column, n, r, 0, 2 * n, 1, shifts, sums);
            net_add_products_$v$r$d$a(s, column, n, r, 2 * n, n, 1, shifts, sums + 3 * n);
            for (j = 0; j < n; j++) {
                const int32_t update = net_curve_$t(&p->f, f, net_gate_$a(s, sums[j], j, shifts));
                const int32_t reset = net_curve_$t(&p->f, f, net_gate_$a(s, sums[n + j], n + j, shifts));
                const $b_t of_x = net_kept_$a(s, sums[2 * n + j]);
                const $b_t of_h = net_kept_$a(s, sums[3 * n + j]);
                const int32_t row = 2 * n + j;
                int32_t code;
                $b_t sum = ($b_t)(of_x * (($b_t)1 << net_row_shift(s, shifts, 3, row, p->of_x_up)));
                $m_t total;
                sum = ($b_t)(sum + reset * of_h * (($b_t)1 << net_row_shift(s, shifts, 4, row, p->of_h_up)));
                code = net_requantize_by_$b(sum, net_row_shift(s, shifts, 5, row, p->hidden_drop), &s->gate);
                total = ($m_t)(($m_t)(p->one - update) * net_curve_$t(&p->g, g, code) * (($m_t)1 << p->entered_up));
                total = ($m_t)(total + ($m_t)update * h[j] * (($m_t)1 << p->kept_up));
                h[j] = ($h_t)net_requantize_$m(total, &p->state);
            }
            net_step_output_$h(s, h, t, b, y);
        }
        h += n;
    }
}

/// rnn(x, w, h, r, v, t, d, a) needs curve(t), biases(a), step_input(x, v), column(h, v), add_products(v, w, d, a), add_products(v, r, d, a), gate(a), step_output(h)
struct net_rnn {
    struct net_recurrence steps;
    struct net_curve f; /* function of a gate, whose results are codes of the state */
};

/* RNN: the state is a function of the sums, by a table. */
static NET_INLINE void net_rnn_$x$w$h$r$v$t$d$a(const struct net_rnn *p, const $x_t *x, const $w_t *w, const $r_t *r,
    const int32_t *bias, const int8_t *shifts, const int32_t *lengths, const $t_t *table, $a_t *sums, $v_t *column,
    $h_t *h, $h_t *y) {
    const struct net_recurrence *s = &p->steps;
    const int32_t n = s->hidden;
    int32_t b;
    int32_t i;
    int32_t j;
    for (b = 0; b < s->batch; b++) {
        const int32_t steps = lengths == 0 ? s->time : lengths[b];
        for (i = 0; i < steps; i++) {
            const int32_t t = s->reverse ? steps - 1 - i : i;
            net_biases_$a(bias, 0, n, sums);
            net_step_input_$x$v(s, x, t, b, column);
            net_add_products_$v$w$d$a(s, column, s->size, w, 0, n, 0, shifts, sums);
            net_column_$h$v(h, 1, n, s->h_fours, column);
            net_add_products_$v$r$d$a(s, column, n, r, 0, n, 1, shifts, sums);
            for (j = 0; j < n; j++) {
                h[j] = ($h_t)net_curve_$t(&p->f, table, net_gate_$a(s, sums[j], j, shifts));
            }
            net_step_output_$h(s, h, t, b, y);
        }
        h += n;
    }
}
