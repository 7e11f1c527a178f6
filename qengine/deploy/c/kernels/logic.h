/// compare(a, b, v) needs at
struct net_compare {
    struct net_lengths n;
    struct net_steps a;
    struct net_steps b;
    struct net_steps y;
    int8_t left_a; /* bits by which an operand is shifted left, to the fraction bits of the finest */
    int8_t left_b;
    int8_t operation; /* 0: equal, 1: less, 2: less or equal, 3: greater, 4: greater or equal, 5: and, 6: or, 7: xor */
};

/* Truth values of pairs of numbers, exact in the finest format. */
static NET_INLINE void net_compare_$a$b$v$o(
    const struct net_compare *p, const $a_t *$restrict a, const $b_t *$restrict b, uint8_t *$restrict y) {
    const $v_t factor_a = ($v_t)(($v_t)1 << p->left_a);
    const $v_t factor_b = ($v_t)(($v_t)1 << p->left_b);
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $a_t *row_a = a + net_at(&p->a, i0, i1, i2);
                const $b_t *row_b = b + net_at(&p->b, i0, i1, i2);
                uint8_t *row_y = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    const $v_t x = ($v_t)(($v_t)row_a[i * p->a.s3] * factor_a);
                    const $v_t z = ($v_t)(($v_t)row_b[i * p->b.s3] * factor_b);
                    int holds;
                    switch (p->operation) {
                    case 0:
                        holds = x == z;
                        break;
                    case 1:
                        holds = x < z;
                        break;
                    case 2:
                        holds = x <= z;
                        break;
                    case 3:
                        holds = x > z;
                        break;
                    case 4:
                        holds = x >= z;
                        break;
                    case 5:
                        holds = x != 0 && z != 0;
                        break;
                    case 6:
                        holds = x != 0 || z != 0;
                        break;
                    default:
                        holds = (x != 0) != (z != 0);
                        break;
                    }
                    row_y[i * p->y.s3] = (uint8_t)holds;
                }
            }
        }
    }
}

/// compare_with(x) needs at
struct net_compare_with {
    struct net_lengths n;
    struct net_steps x;
    struct net_steps y;
    int8_t is_zero; /* whether the result is x == 0, else x != 0 */
};

/* Whether elements are 0, or are not. */
static NET_INLINE void net_compare_with_$x$o(
    const struct net_compare_with *p, const $x_t *$restrict x, uint8_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $x_t *from = x + net_at(&p->x, i0, i1, i2);
                uint8_t *to = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    to[i * p->y.s3] = (uint8_t)((from[i * p->x.s3] == 0) == (p->is_zero != 0));
                }
            }
        }
    }
}

/// cast_wrapped(x, y) needs at, wrapped(y)
struct net_cast_wrapped {
    struct net_lengths n;
    struct net_steps x;
    struct net_steps y;
};

/* Integers in a type that keeps their low bits. */
static NET_INLINE void net_cast_wrapped_$x$y$o(
    const struct net_cast_wrapped *p, const $x_t *$restrict x, $y_t *$restrict y) {
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
                    to[i * p->y.s3] = net_wrapped_$y((uint64_t)from[i * p->x.s3]);
                }
            }
        }
    }
}
