/// strides
struct net_strides {
    int32_t outer; /* elements from a row to the next, along three axes */
    int32_t middle;
    int32_t inner;
    int32_t plane; /* elements from an element of a row to the next, along three axes */
    int32_t line;
    int32_t unit;
};

/// rows
struct net_rows {
    int32_t outer; /* rows, along three axes */
    int32_t middle;
    int32_t inner;
    int32_t planes; /* elements of a row, along three axes */
    int32_t lines;
    int32_t length;
};

/// power
struct net_power {
    int32_t last; /* the last entry is that of all larger distances */
    int32_t highs; /* 0: an entry for every distance; else the number of factors of multiples of 256 */
};

/* e^-d times 2^30. A long table is kept as products of two factors, of d & 255 and of d >> 8, and a bit for each d that
 * says where a product is 1 too small. */
static NET_LEAF int32_t net_power_of(const uint32_t *table, int32_t d, const struct net_power *p) {
    const int32_t i = d < p->last ? d : p->last;
    uint64_t product;
    uint32_t bits;
    if (p->highs == 0) {
        return (int32_t)table[i];
    }
    product = (uint64_t)table[i & 255] * table[256 + (i >> 8)];
    bits = table[256 + p->highs + (i >> 5)];
    return (int32_t)((uint32_t)(product >> 34) + ((bits >> (i & 31)) & 1U));
}

/// most(x) needs rows, strides
/* The largest code of a row. */
static NET_LEAF int32_t net_most_$x(const struct net_rows *r, const struct net_strides *s, const $x_t *x) {
    int32_t most = x[0];
    int32_t i;
    int32_t j;
    int32_t k;
    for (i = 0; i < r->planes; i++) {
        for (j = 0; j < r->lines; j++) {
            const $x_t *line = x + i * s->plane + j * s->line;
            for (k = 0; k < r->length; k++) {
                const int32_t v = line[k * s->unit];
                most = v > most ? v : most;
            }
        }
    }
    return most;
}

/// total(x) needs rows, strides, power
/* The sum of the powers of the distances from the largest code of a row: at least 2^30. */
static NET_LEAF uint64_t net_total_$x(const struct net_rows *r, const struct net_strides *s, const struct net_power *p,
    const $x_t *x, const uint32_t *powers, int32_t most) {
    uint64_t total = 0;
    int32_t i;
    int32_t j;
    int32_t k;
    for (i = 0; i < r->planes; i++) {
        for (j = 0; j < r->lines; j++) {
            const $x_t *line = x + i * s->plane + j * s->line;
            for (k = 0; k < r->length; k++) {
                total += (uint64_t)net_power_of(powers, most - line[k * s->unit], p);
            }
        }
    }
    return total;
}

/// quotient(a) needs fit(a), round_right(a)
struct net_quotient {
    int8_t up; /* the numerator is multiplied by 2^up, up to 30, and by 2^more */
    int8_t more;
    int8_t down; /* the denominator is multiplied by 2^down */
    struct net_epilogue epilogue;
};

/* The code of e 2^(up + more) / total for an e of up to 2^30 and up to the total, which is 2^30 or more. inverse is
 * 2^61 / total rounded down, so that e times inverse is a quotient that is exact or 1 too small. */
static NET_LEAF int32_t net_quotient_$a(int32_t e, uint64_t total, uint64_t inverse, const struct net_quotient *p) {
    uint64_t q = ((uint64_t)e * inverse) >> (61 - p->up);
    uint64_t rest = ((uint64_t)e << p->up) - q * total;
    int32_t i;
    $a_t v;
    if (rest >= total) {
        rest -= total;
        q++;
    }
    for (i = 0; i < p->more; i++) {
        const uint64_t bit = 2 * rest >= total;
        rest = 2 * rest - (bit ? total : 0);
        q = 2 * q + bit;
    }
    v = ($a_t)(4 * ($a_t)q + (rest > 0) + (2 * rest >= total) + (2 * rest > total));
    return net_fit_$a(net_round_right_$a(v, 2, &p->epilogue), &p->epilogue);
}

/// softmax_row(x, y, a) needs most(x), total(x), quotient(a)
struct net_softmax_row {
    struct net_rows rows;
    struct net_strides x;
    struct net_strides y;
    struct net_power power;
    struct net_quotient quotient;
};

static NET_LEAF void net_softmax_row_$x$y$a$o(
    const struct net_softmax_row *p, const $x_t *$restrict x, const uint32_t *powers, $y_t *$restrict y) {
    const struct net_rows *r = &p->rows;
    const int32_t most = net_most_$x(r, &p->x, x);
    const uint64_t total = net_total_$x(r, &p->x, &p->power, x, powers, most) << p->quotient.down;
    const uint64_t inverse = ((uint64_t)1 << 61) / total;
    int32_t i;
    int32_t j;
    int32_t k;
    for (i = 0; i < r->planes; i++) {
        for (j = 0; j < r->lines; j++) {
            const $x_t *from = x + i * p->x.plane + j * p->x.line;
            $y_t *to = y + i * p->y.plane + j * p->y.line;
            for (k = 0; k < r->length; k++) {
                const int32_t e = net_power_of(powers, most - from[k * p->x.unit], &p->power);
                to[k * p->y.unit] = ($y_t)net_quotient_$a(e, total, inverse, &p->quotient);
            }
        }
    }
}

/// softmax(x, y, a) needs softmax_row(x, y, a)
struct net_softmax {
    struct net_softmax_row row;
};

/* e^x / sum(e^x) of rows: a table of powers, their exact sum, and one rounded quotient. */
static NET_INLINE void net_softmax_$x$y$a$o(
    const struct net_softmax *p, const $x_t *$restrict x, const uint32_t *powers, $y_t *$restrict y) {
    const struct net_softmax_row *row = &p->row;
    int32_t i;
    int32_t j;
    int32_t k;
    for (i = 0; i < row->rows.outer; i++) {
        for (j = 0; j < row->rows.middle; j++) {
            for (k = 0; k < row->rows.inner; k++) {
                const int32_t from = i * row->x.outer + j * row->x.middle + k * row->x.inner;
                const int32_t to = i * row->y.outer + j * row->y.middle + k * row->y.inner;
                net_softmax_row_$x$y$a$o(row, x + from, powers, y + to);
            }
        }
    }
}

/// log_of_sum
/* ln(total 2^-30) with 36 fraction bits, for a total of 2^30 or more. The table has ln 2 and the logarithms of
 * 1, 1 + 1/256, ... The logarithm of the rest is t - t^2 / 2 + t^3 / 3. */
static NET_LEAF int64_t net_log_of_sum(uint64_t total, const int64_t *table) {
    int32_t p = 0;
    int32_t interval;
    int64_t begin;
    int64_t t;
    int64_t square;
    while ((total >> p) >= ((uint64_t)1 << 31)) {
        p++;
    }
    total >>= p;
    interval = (int32_t)(total >> 22);
    begin = (int64_t)interval << 22;
    t = (((int64_t)total - begin) << 36) / begin;
    square = (t * t) >> 36;
    return p * table[0] + table[1 + interval - 256] + (6 * t - 3 * square + 2 * ((square * t) >> 36)) / 6;
}

/// log_softmax_row(x, y) needs most(x), total(x), log_of_sum, requantize(i64)
struct net_log_softmax_row {
    struct net_rows rows;
    struct net_strides x;
    struct net_strides y;
    struct net_power power;
    int8_t distance_up; /* distances and logarithms are multiplied by 2^up */
    int8_t log_up;
    struct net_epilogue epilogue;
};

static NET_LEAF void net_log_softmax_row_$x$y$o(const struct net_log_softmax_row *p, const $x_t *$restrict x,
    const uint32_t *powers, const int64_t *logarithms, $y_t *$restrict y) {
    const struct net_rows *r = &p->rows;
    const int32_t most = net_most_$x(r, &p->x, x);
    const uint64_t total = net_total_$x(r, &p->x, &p->power, x, powers, most);
    const int64_t of_sum = net_log_of_sum(total, logarithms) * ((int64_t)1 << p->log_up);
    int32_t i;
    int32_t j;
    int32_t k;
    for (i = 0; i < r->planes; i++) {
        for (j = 0; j < r->lines; j++) {
            const $x_t *from = x + i * p->x.plane + j * p->x.line;
            $y_t *to = y + i * p->y.plane + j * p->y.line;
            for (k = 0; k < r->length; k++) {
                const int64_t d = most - (int32_t)from[k * p->x.unit];
                const int64_t v = -(d * ((int64_t)1 << p->distance_up)) - of_sum;
                to[k * p->y.unit] = ($y_t)net_requantize_i64(v, &p->epilogue);
            }
        }
    }
}

/// log_softmax(x, y) needs log_softmax_row(x, y)
struct net_log_softmax {
    struct net_log_softmax_row row;
};

/* x - most - ln(sum(e^(x - most))) of rows, rounded once. */
static NET_INLINE void net_log_softmax_$x$y$o(const struct net_log_softmax *p, const $x_t *$restrict x,
    const uint32_t *powers, const int64_t *logarithms, $y_t *$restrict y) {
    const struct net_log_softmax_row *row = &p->row;
    int32_t i;
    int32_t j;
    int32_t k;
    for (i = 0; i < row->rows.outer; i++) {
        for (j = 0; j < row->rows.middle; j++) {
            for (k = 0; k < row->rows.inner; k++) {
                const int32_t from = i * row->x.outer + j * row->x.middle + k * row->x.inner;
                const int32_t to = i * row->y.outer + j * row->y.middle + k * row->y.inner;
                net_log_softmax_row_$x$y$o(row, x + from, powers, logarithms, y + to);
            }
        }
    }
}
