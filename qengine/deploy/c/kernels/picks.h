/// place_in(i)
/* An index into an axis, of which negative ones count from the end. One outside of the axis, which is an error in the
 * model, is brought to the nearest place. */
static NET_LEAF int32_t net_place_in_$i($i_t index, int32_t length) {
    int64_t k = (int64_t)index;
    k = k < 0 ? k + length : k;
    k = k < 0 ? 0 : k;
    k = k > length - 1 ? length - 1 : k;
    return (int32_t)k;
}

/// slice_at(i) needs place_in(i)
/* The number of a slice by the indices of the axes that are before it. */
static NET_LEAF int32_t net_slice_at_$i(const $i_t *index, const int32_t *lengths, int32_t axes) {
    int32_t found = 0;
    int32_t d;
    for (d = 0; d < axes; d++) {
        found = found * lengths[d] + net_place_in_$i(index[d], lengths[d]);
    }
    return found;
}

/// take_slices(x, i) needs slice_at(i)
struct net_take_slices {
    int32_t batches;
    int32_t batch; /* elements of x of a batch */
    int32_t count; /* slices of a batch of y */
    int32_t axes; /* indices of a slice */
    int32_t block; /* elements of a slice */
};

/* Slices of x by rows of computed indices. */
static NET_INLINE void net_take_slices_$x$i(const struct net_take_slices *p, const $x_t *$restrict x, const $i_t *index,
    const int32_t *lengths, $x_t *$restrict y) {
    int32_t b;
    int32_t r;
    for (b = 0; b < p->batches; b++) {
        for (r = 0; r < p->count; r++) {
            const int32_t row = b * p->count + r;
            const int32_t from = b * p->batch + net_slice_at_$i(index + row * p->axes, lengths, p->axes) * p->block;
            (void)memcpy(y + row * p->block, x + from, (size_t)p->block * sizeof(*y));
        }
    }
}

/// reverse(x, i)
struct net_reverse {
    int32_t sequences;
    int32_t times;
    int32_t block; /* elements of a sequence at a time */
    int32_t sequence; /* elements from one sequence to the next */
    int32_t time; /* elements from one time to the next */
};

/* Sequences with their first elements in reverse order, as many as their lengths. */
static NET_INLINE void net_reverse_$x$i(
    const struct net_reverse *p, const $x_t *$restrict x, const $i_t *lengths, $x_t *$restrict y) {
    int32_t s;
    int32_t t;
    for (s = 0; s < p->sequences; s++) {
        const int64_t given = (int64_t)lengths[s];
        const int32_t length = given < p->times ? (int32_t)given : p->times;
        for (t = 0; t < p->times; t++) {
            const int32_t from = t < length ? length - 1 - t : t;
            (void)memcpy(y + s * p->sequence + t * p->time, x + s * p->sequence + from * p->time,
                (size_t)p->block * sizeof(*y));
        }
    }
}

/// top(x)
struct net_top {
    int32_t outer;
    int32_t n; /* elements of a row, and those that are kept */
    int32_t k;
    int32_t inner; /* elements from one of a row to the next */
    int8_t is_smallest;
    int8_t has_places; /* whether places are wanted */
};

/* The k largest or smallest elements of rows in order, and their places, where those are wanted. Equal ones are in the
 * order of their places. Each element moves up past those that it comes before. */
static NET_INLINE void net_top_$x(const struct net_top *p, const $x_t *$restrict x, $x_t *$restrict y, int64_t *place) {
    int32_t o;
    int32_t j;
    int32_t i;
    for (o = 0; o < p->outer; o++) {
        for (j = 0; j < p->inner; j++) {
            const $x_t *row = x + o * p->n * p->inner + j;
            const int32_t first = o * p->k * p->inner + j;
            $x_t *best = y + first;
            for (i = 0; i < p->n; i++) {
                const $x_t v = row[i * p->inner];
                int32_t at = i < p->k ? i : p->k;
                while (at > 0) {
                    const $x_t other = best[(at - 1) * p->inner];
                    if (p->is_smallest ? v >= other : v <= other) {
                        break;
                    }
                    if (at < p->k) {
                        best[at * p->inner] = other;
                        if (p->has_places) {
                            place[first + at * p->inner] = place[first + (at - 1) * p->inner];
                        }
                    }
                    at--;
                }
                if (at < p->k) {
                    best[at * p->inner] = v;
                    if (p->has_places) {
                        place[first + at * p->inner] = i;
                    }
                }
            }
        }
    }
}

/// one_hot(i, y)
struct net_one_hot {
    int32_t outer;
    int32_t depth;
    int32_t inner;
    int32_t off;
    int32_t on;
};

/* `on` at the place of each index along a new axis, `off` elsewhere; an index outside of the axis is nowhere. */
static NET_INLINE void net_one_hot_$i$y(const struct net_one_hot *p, const $i_t *index, $y_t *y) {
    int32_t o;
    int32_t d;
    int32_t j;
    for (o = 0; o < p->outer; o++) {
        for (d = 0; d < p->depth; d++) {
            for (j = 0; j < p->inner; j++) {
                const int64_t k = (int64_t)index[o * p->inner + j];
                const int is_on = k == d || k == d - p->depth;
                y[(o * p->depth + d) * p->inner + j] = ($y_t)(is_on ? p->on : p->off);
            }
        }
    }
}

/// hard_max(x, y)
struct net_hard_max {
    int32_t outer;
    int32_t n;
    int32_t inner;
    int32_t one;
};

/* `one` at the first largest element of each row, 0 elsewhere. */
static NET_INLINE void net_hard_max_$x$y(const struct net_hard_max *p, const $x_t *$restrict x, $y_t *$restrict y) {
    int32_t o;
    int32_t j;
    int32_t i;
    for (o = 0; o < p->outer; o++) {
        for (j = 0; j < p->inner; j++) {
            const int32_t start = o * p->n * p->inner + j;
            int32_t best = 0;
            for (i = 1; i < p->n; i++) {
                if (x[start + i * p->inner] > x[start + best * p->inner]) {
                    best = i;
                }
            }
            for (i = 0; i < p->n; i++) {
                y[start + i * p->inner] = ($y_t)(i == best ? p->one : 0);
            }
        }
    }
}
