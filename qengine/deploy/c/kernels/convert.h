/// convert(x, y, v) needs at, requantize(v)
struct net_convert {
    struct net_lengths n;
    struct net_steps x;
    struct net_steps y;
    int32_t zero_x; /* stored integer of 0 in x and in y */
    int32_t zero_y;
    struct net_epilogue epilogue;
};

/* Codes in another format. */
static NET_INLINE void net_convert_$x$y$v$o(const struct net_convert *p, const $x_t *$restrict x, $y_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $x_t *from = x + net_at(&p->x, i0, i1, i2);
                $y_t *to = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    const $v_t v = ($v_t)(($v_t)from[i * p->x.s3] - ($v_t)p->zero_x);
                    to[i * p->y.s3] = ($y_t)(net_requantize_$v(v, &p->epilogue) + p->zero_y);
                }
            }
        }
    }
}

/// cast(x, y) needs at
struct net_cast {
    struct net_lengths n;
    struct net_steps x;
    struct net_steps y;
};

/* The same integers in a type that holds them. */
static NET_INLINE void net_cast_$x$y$o(const struct net_cast *p, const $x_t *$restrict x, $y_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $x_t *from = x + net_at(&p->x, i0, i1, i2);
                $y_t *to = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    to[i * p->y.s3] = ($y_t)from[i * p->x.s3];
                }
            }
        }
    }
}
