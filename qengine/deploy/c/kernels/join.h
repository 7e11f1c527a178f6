/// choose(c, a, b, y) needs at, requantize(i32)
struct net_choose {
    struct net_lengths n;
    struct net_steps c;
    struct net_steps a;
    struct net_steps b;
    struct net_steps y;
    struct net_epilogue of_a;
    struct net_epilogue of_b;
};

/* a where the condition holds, else b, each in the format of y. */
static NET_INLINE void net_choose_$c$a$b$y$o(const struct net_choose *p, const $c_t *$restrict c,
    const $a_t *$restrict a, const $b_t *$restrict b, $y_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $c_t *row_c = c + net_at(&p->c, i0, i1, i2);
                const $a_t *row_a = a + net_at(&p->a, i0, i1, i2);
                const $b_t *row_b = b + net_at(&p->b, i0, i1, i2);
                $y_t *row_y = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    const int32_t code_a = net_requantize_i32((int32_t)row_a[i * p->a.s3], &p->of_a);
                    const int32_t code_b = net_requantize_i32((int32_t)row_b[i * p->b.s3], &p->of_b);
                    row_y[i * p->y.s3] = ($y_t)(row_c[i * p->c.s3] != 0 ? code_a : code_b);
                }
            }
        }
    }
}

/// choose_same(c, y) needs at
struct net_choose_same {
    struct net_lengths n;
    struct net_steps c;
    struct net_steps a;
    struct net_steps b;
    struct net_steps y;
};

/* a where the condition holds, else b, as they are. */
static NET_INLINE void net_choose_same_$c$y$o(const struct net_choose_same *p, const $c_t *$restrict c,
    const $y_t *$restrict a, const $y_t *$restrict b, $y_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $c_t *row_c = c + net_at(&p->c, i0, i1, i2);
                const $y_t *row_a = a + net_at(&p->a, i0, i1, i2);
                const $y_t *row_b = b + net_at(&p->b, i0, i1, i2);
                $y_t *row_y = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    row_y[i * p->y.s3] = row_c[i * p->c.s3] != 0 ? row_a[i * p->a.s3] : row_b[i * p->b.s3];
                }
            }
        }
    }
}

/// extreme(a, b, y) needs at, requantize(i32)
struct net_extreme {
    struct net_lengths n;
    struct net_steps a;
    struct net_steps b;
    struct net_steps y;
    struct net_epilogue of_a;
    struct net_epilogue of_b;
    int8_t is_largest;
};

/* The larger or the smaller of a and b, each in the format of y. */
static NET_INLINE void net_extreme_$a$b$y$o(
    const struct net_extreme *p, const $a_t *$restrict a, const $b_t *$restrict b, $y_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $a_t *row_a = a + net_at(&p->a, i0, i1, i2);
                const $b_t *row_b = b + net_at(&p->b, i0, i1, i2);
                $y_t *row_y = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    const int32_t code_a = net_requantize_i32((int32_t)row_a[i * p->a.s3], &p->of_a);
                    const int32_t code_b = net_requantize_i32((int32_t)row_b[i * p->b.s3], &p->of_b);
                    const int32_t is_a = p->is_largest ? code_a > code_b : code_a < code_b;
                    row_y[i * p->y.s3] = ($y_t)(is_a ? code_a : code_b);
                }
            }
        }
    }
}

/// extreme_same(y) needs at
struct net_extreme_same {
    struct net_lengths n;
    struct net_steps a;
    struct net_steps b;
    struct net_steps y;
    int8_t is_largest;
};

/* The larger or the smaller of a and b, as they are. */
static NET_INLINE void net_extreme_same_$y$o(
    const struct net_extreme_same *p, const $y_t *$restrict a, const $y_t *$restrict b, $y_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $y_t *row_a = a + net_at(&p->a, i0, i1, i2);
                const $y_t *row_b = b + net_at(&p->b, i0, i1, i2);
                $y_t *row_y = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    const $y_t x = row_a[i * p->a.s3];
                    const $y_t z = row_b[i * p->b.s3];
                    row_y[i * p->y.s3] = (p->is_largest ? x > z : x < z) ? x : z;
                }
            }
        }
    }
}

/// extreme_also(x, y) needs at, requantize(i32)
struct net_extreme_also {
    struct net_lengths n;
    struct net_steps x;
    struct net_steps y;
    struct net_epilogue epilogue;
    int8_t is_largest;
};

/* y, or x in the format of y where that is larger or smaller. */
static NET_INLINE void net_extreme_also_$x$y(const struct net_extreme_also *p, const $x_t *x, $y_t *y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $x_t *row_x = x + net_at(&p->x, i0, i1, i2);
                $y_t *row_y = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    const int32_t code = net_requantize_i32((int32_t)row_x[i * p->x.s3], &p->epilogue);
                    const int32_t held = (int32_t)row_y[i * p->y.s3];
                    if (p->is_largest ? code > held : code < held) {
                        row_y[i * p->y.s3] = ($y_t)code;
                    }
                }
            }
        }
    }
}

/// extreme_also_same(y) needs at
struct net_extreme_also_same {
    struct net_lengths n;
    struct net_steps x;
    struct net_steps y;
    int8_t is_largest;
};

/* y, or x as it is where that is larger or smaller. */
static NET_INLINE void net_extreme_also_same_$y(const struct net_extreme_also_same *p, const $y_t *x, $y_t *y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $y_t *row_x = x + net_at(&p->x, i0, i1, i2);
                $y_t *row_y = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    const $y_t v = row_x[i * p->x.s3];
                    if (p->is_largest ? v > row_y[i * p->y.s3] : v < row_y[i * p->y.s3]) {
                        row_y[i * p->y.s3] = v;
                    }
                }
            }
        }
    }
}
