/// reduce(x) needs at
struct net_reduce {
    struct net_lengths n;
    struct net_steps x;
    struct net_steps y;
    int32_t results;
    int8_t operation; /* 0: sum, 1: product, 2: sum of magnitudes, 3: sum of squares */
};

/* Sums or products over axes, along which y takes no steps. They wrap in 64 bits, and their low bits are those of any
 * narrower type. */
static NET_INLINE void net_reduce_$x(const struct net_reduce *p, const $x_t *x, uint64_t *y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i = 0; i < p->results; i++) {
        y[i] = p->operation == 1;
    }
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $x_t *from = x + net_at(&p->x, i0, i1, i2);
                uint64_t *to = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    const $x_t element = from[i * p->x.s3];
                    const uint64_t v = (uint64_t)element;
                    uint64_t *result = to + i * p->y.s3;
                    if (p->operation == 0) {
                        *result += v;
                    } else if (p->operation == 1) {
                        *result *= v;
                    } else if (p->operation == 2) {
                        *result += element < ($x_t)1 ? 0 - v : v; /* 0 is its own magnitude */
                    } else {
                        *result += v * v;
                    }
                }
            }
        }
    }
}

/// divide_all(y, v) needs at, wrapped(y), wrapped(v)
struct net_divide_all {
    struct net_lengths n;
    struct net_steps x;
    struct net_steps y;
    int32_t count;
};

/* Sums divided by a count and cut toward 0, wrapped. */
static NET_INLINE void net_divide_all_$y$v(const struct net_divide_all *p, const uint64_t *x, $y_t *y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const uint64_t *from = x + net_at(&p->x, i0, i1, i2);
                $y_t *to = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    const $v_t quotient = ($v_t)(net_wrapped_$v(from[i * p->x.s3]) / ($v_t)p->count);
                    to[i * p->y.s3] = net_wrapped_$y((uint64_t)quotient);
                }
            }
        }
    }
}
