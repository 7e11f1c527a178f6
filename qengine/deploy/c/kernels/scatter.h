/// put(u, y) needs wrapped(y)
/* Writes u * 2^left to an element, or adds it, or multiplies by it, or keeps the larger or the smaller of both. */
static NET_LEAF void net_put_$u$y($y_t *to, $u_t u, int32_t left, int32_t reduction) {
    const $y_t v = ($y_t)(($y_t)u * ($y_t)(($y_t)1 << left));
    if (reduction == 0) {
        *to = v;
    } else if (reduction == 1) {
        *to = net_wrapped_$y((uint64_t)*to + (uint64_t)v);
    } else if (reduction == 2) {
        *to = net_wrapped_$y((uint64_t)*to * (uint64_t)v);
    } else if (reduction == 3) {
        *to = v > *to ? v : *to;
    } else {
        *to = v < *to ? v : *to;
    }
}

/// scatter(u, i, y) needs at, put(u, y), place_in(i)
struct net_scatter {
    struct net_lengths n;
    struct net_steps u;
    struct net_steps i;
    struct net_steps y;
    int32_t length; /* of the axis that the indices are of */
    int32_t step; /* elements of y along it */
    int8_t left; /* bits by which an update is shifted left */
    int8_t reduction; /* 0: none, 1: add, 2: multiply, 3: largest, 4: smallest */
};

/* Updates of y at computed indices, one after the other. */
static NET_INLINE void net_scatter_$u$i$y(const struct net_scatter *p, const $u_t *update, const $i_t *index, $y_t *y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $u_t *from = update + net_at(&p->u, i0, i1, i2);
                const $i_t *at = index + net_at(&p->i, i0, i1, i2);
                $y_t *to = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    const int32_t k = net_place_in_$i(at[i * p->i.s3], p->length);
                    net_put_$u$y(to + i * p->y.s3 + k * p->step, from[i * p->u.s3], p->left, p->reduction);
                }
            }
        }
    }
}

/// scatter_slices(u, i, y) needs put(u, y), slice_at(i)
struct net_scatter_slices {
    int32_t count; /* slices */
    int32_t axes; /* indices of a slice */
    int32_t block; /* elements of a slice */
    int8_t left; /* bits by which an update is shifted left */
    int8_t reduction; /* 0: none, 1: add, 2: multiply, 3: largest, 4: smallest */
};

/* Updates of slices of y at rows of computed indices, one after the other. */
static NET_INLINE void net_scatter_slices_$u$i$y(const struct net_scatter_slices *p, const $u_t *update,
    const $i_t *index, const int32_t *lengths, $y_t *y) {
    int32_t r;
    int32_t i;
    for (r = 0; r < p->count; r++) {
        $y_t *to = y + net_slice_at_$i(index + r * p->axes, lengths, p->axes) * p->block;
        for (i = 0; i < p->block; i++) {
            net_put_$u$y(to + i, update[r * p->block + i], p->left, p->reduction);
        }
    }
}

/// widen(x, v)
struct net_widen {
    int32_t size;
    int8_t left; /* bits by which a code is shifted left */
};

/* Codes as wider numbers. */
static NET_INLINE void net_widen_$x$v(const struct net_widen *p, const $x_t *x, $v_t *y) {
    int32_t i;
    for (i = 0; i < p->size; i++) {
        y[i] = ($v_t)(($v_t)x[i] * ($v_t)(($v_t)1 << p->left));
    }
}

/// running(x, y) needs wrapped(y)
struct net_running {
    int32_t outer;
    int32_t n; /* elements of a row */
    int32_t inner; /* elements from one of a row to the next */
    int8_t is_product; /* else a sum */
    int8_t is_exclusive; /* whether a result does not hold its own element */
    int8_t is_reverse; /* whether a row is gone through from its end */
};

/* Sums or products of all elements of a row up to each one, which wrap. */
static NET_INLINE void net_running_$x$y(const struct net_running *p, const $x_t *$restrict x, $y_t *$restrict y) {
    int32_t o;
    int32_t j;
    int32_t i;
    for (o = 0; o < p->outer; o++) {
        for (j = 0; j < p->inner; j++) {
            uint64_t total = p->is_product ? 1 : 0;
            for (i = 0; i < p->n; i++) {
                const int32_t k = p->is_reverse ? p->n - 1 - i : i;
                const int32_t at = (o * p->n + k) * p->inner + j;
                const uint64_t v = (uint64_t)x[at];
                const uint64_t next = p->is_product ? total * v : total + v;
                y[at] = net_wrapped_$y(p->is_exclusive ? total : next);
                total = next;
            }
        }
    }
}
