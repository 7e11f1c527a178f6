/// lengths
struct net_lengths {
    int32_t n0; /* lengths of the axes of a nest of loops, the outermost first */
    int32_t n1;
    int32_t n2;
    int32_t n3;
};

/// steps
struct net_steps {
    int32_t s0; /* elements from one place along each axis of a nest to the next; 0 repeats an element */
    int32_t s1;
    int32_t s2;
    int32_t s3;
};

/// at needs steps
/* The element of a tensor with which a row of a nest begins. */
static NET_LEAF int32_t net_at(const struct net_steps *s, int32_t i0, int32_t i1, int32_t i2) {
    return i0 * s->s0 + i1 * s->s1 + i2 * s->s2;
}

/// rearrange_row(x)
/* Copies n elements: every `from`th of x to every `to`th of y. */
static NET_LEAF void net_rearrange_row_$x(const $x_t *x, int32_t from, $x_t *y, int32_t to, int32_t n) {
    int32_t i;
    if (from == 1 && to == 1) {
        (void)memcpy(y, x, (size_t)n * sizeof(*y));
    } else {
        for (i = 0; i < n; i++) {
            y[i * to] = x[i * from];
        }
    }
}

/// rearrange(x) needs rearrange_row(x)
struct net_rearrange {
    int32_t n0; /* lengths of the axes, the outermost first */
    int32_t n1;
    int32_t n2;
    int32_t n3;
    int32_t n4;
    int32_t n5;
    int32_t x0; /* elements of x from one place along each axis to the next; 0 repeats, a negative number reverses */
    int32_t x1;
    int32_t x2;
    int32_t x3;
    int32_t x4;
    int32_t x5;
    int32_t y0; /* the same of y */
    int32_t y1;
    int32_t y2;
    int32_t y3;
    int32_t y4;
    int32_t y5;
};

/* Elements of x in another order: transposed, cut, repeated, put into blocks. */
static NET_INLINE void net_rearrange_$x$o(const struct net_rearrange *p, const $x_t *$restrict x, $x_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i3;
    int32_t i4;
    for (i0 = 0; i0 < p->n0; i0++) {
        for (i1 = 0; i1 < p->n1; i1++) {
            for (i2 = 0; i2 < p->n2; i2++) {
                for (i3 = 0; i3 < p->n3; i3++) {
                    for (i4 = 0; i4 < p->n4; i4++) {
                        const int32_t from = i0 * p->x0 + i1 * p->x1 + i2 * p->x2 + i3 * p->x3 + i4 * p->x4;
                        const int32_t to = i0 * p->y0 + i1 * p->y1 + i2 * p->y2 + i3 * p->y3 + i4 * p->y4;
                        net_rearrange_row_$x(x + from, p->x5, y + to, p->y5, p->n5);
                    }
                }
            }
        }
    }
}

/// fill(y) needs at
struct net_fill {
    struct net_lengths n;
    struct net_steps y;
    int32_t value;
};

/* One number in a part of y. */
static NET_INLINE void net_fill_$y(const struct net_fill *p, $y_t *y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                $y_t *row = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    row[i * p->y.s3] = ($y_t)p->value;
                }
            }
        }
    }
}

/// pick(x, r, c)
struct net_pick {
    int32_t outer; /* how often the tables are gone through */
    int32_t step; /* elements of x from one time to the next */
    int32_t rows; /* lengths of the two tables */
    int32_t columns;
    int32_t block; /* elements that stay together */
    int32_t none; /* entry of a table that stands for the fill */
    int32_t fill;
};

/* Blocks of x, each at the sum of an entry of either table. */
static NET_INLINE void net_pick_$x$r$c$o(
    const struct net_pick *p, const $x_t *$restrict x, const $r_t *row, const $c_t *column, $x_t *$restrict y) {
    int32_t o;
    int32_t r;
    int32_t c;
    int32_t i;
    for (o = 0; o < p->outer; o++) {
        for (r = 0; r < p->rows; r++) {
            for (c = 0; c < p->columns; c++) {
                $x_t *to = y + ((o * p->rows + r) * p->columns + c) * p->block;
                if ((int32_t)row[r] == p->none || (int32_t)column[c] == p->none) {
                    for (i = 0; i < p->block; i++) {
                        to[i] = ($x_t)p->fill;
                    }
                } else {
                    const $x_t *from = x + (o * p->step + (int32_t)row[r] + (int32_t)column[c]);
                    if (p->block == 1) {
                        to[0] = from[0];
                    } else {
                        (void)memcpy(to, from, (size_t)p->block * sizeof(*to));
                    }
                }
            }
        }
    }
}

/// take(x, i) needs at
struct net_take {
    struct net_lengths n;
    struct net_steps x;
    struct net_steps i;
    struct net_steps y;
    int32_t length; /* of the axis that the indices are of */
    int32_t step; /* elements of x along it */
};

/* Elements of x by computed indices, of which negative ones count from the end. An index outside of the axis, which
 * is an error in the model, is brought to the nearest place. */
static NET_INLINE void net_take_$x$i(const struct net_take *p, const $x_t *$restrict x, const $i_t *index,
    $x_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $x_t *from = x + net_at(&p->x, i0, i1, i2);
                const $i_t *at = index + net_at(&p->i, i0, i1, i2);
                $x_t *to = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    $i_t k = at[i * p->i.s3];
                    k = k < 0 ? ($i_t)(k + ($i_t)p->length) : k;
                    k = k < 0 ? 0 : k;
                    k = k > ($i_t)(p->length - 1) ? ($i_t)(p->length - 1) : k;
                    to[i * p->y.s3] = from[i * p->x.s3 + (int32_t)k * p->step];
                }
            }
        }
    }
}

/// raised(y)
struct net_raised {
    int32_t size;
    int32_t low;
};

/* Codes below the lowest that a symmetric overflow leaves become that. */
static NET_INLINE void net_raised_$y(const struct net_raised *p, $y_t *y) {
    int32_t i;
    for (i = 0; i < p->size; i++) {
        y[i] = y[i] < p->low ? ($y_t)p->low : y[i];
    }
}

/// bounded(x) needs at
struct net_bounded {
    struct net_lengths n;
    struct net_steps x;
    struct net_steps y;
    int64_t low;
    int64_t high;
};

/* Relu and Clip: x between two codes. */
static NET_INLINE void net_bounded_$x$o(const struct net_bounded *p, const $x_t *$restrict x, $x_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $x_t *from = x + net_at(&p->x, i0, i1, i2);
                $x_t *to = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    $x_t v = from[i * p->x.s3];
                    v = v < ($x_t)p->low ? ($x_t)p->low : v;
                    v = v > ($x_t)p->high ? ($x_t)p->high : v;
                    to[i * p->y.s3] = v;
                }
            }
        }
    }
}
