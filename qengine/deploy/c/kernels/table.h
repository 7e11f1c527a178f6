/// table_row(x, y)
/* The entries for n codes: y[i * to] = table[x[i * from] - least]. Codes above `most` have the last entry, and those
 * below `least` the first, if the table is not as long as the word of the input. */
static NET_LEAF void net_table_row_$x$y$o(const struct net_table *p, const $x_t *$restrict x, const $y_t *table,
    $y_t *$restrict y) {
    const int32_t from = p->x.s3;
    const int32_t to = p->y.s3;
    int32_t i;
    for (i = 0; i < p->n.n3; i++) {
        int32_t v = (int32_t)x[i * from];
        if (p->is_cut) {
            v = v < p->least ? p->least : v;
            v = v > p->most ? p->most : v;
        }
        y[i * to] = table[v - p->least];
    }
}

/// table(x, y) needs lengths, steps, at, table_row(x, y)
struct net_table {
    struct net_lengths n;
    struct net_steps x;
    struct net_steps y;
    int32_t least; /* codes of the first and of the last entry */
    int32_t most;
    int32_t is_cut; /* whether there are codes beyond them */
};

/* A function of one variable: an entry for each code of the input. */
static NET_INLINE void net_table_$x$y$o(
    const struct net_table *p, const $x_t *$restrict x, const $y_t *table, $y_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                net_table_row_$x$y$o(p, x + net_at(&p->x, i0, i1, i2), table, y + net_at(&p->y, i0, i1, i2));
            }
        }
    }
}

/// bits_below
/* The number of ones among the lowest n bits, n < 32. */
static NET_LEAF int32_t net_bits_below(uint32_t bits, int32_t n) {
    uint32_t v = bits & (((uint32_t)1 << n) - 1U);
#if defined(__POPCNT__)
    return (int32_t)__builtin_popcount(v);
#else
    v -= (v >> 1) & UINT32_C(0x55555555);
    v = (v & UINT32_C(0x33333333)) + ((v >> 2) & UINT32_C(0x33333333));
    v = (v + (v >> 4)) & UINT32_C(0x0F0F0F0F);
    return (int32_t)((uint32_t)(v * UINT32_C(0x01010101)) >> 24);
#endif
}

/// rank_entry(y, s) needs bits_below
/* The entry at a place of a rank-coded table. Every 32nd entry is a base. From one entry to the next the table rises by
 * a slope and by a number: bit k of the numbers of 32 entries is one word of `bits`. So the sum of the numbers before
 * an entry is a count of ones for each k. A part of the table, if any, is stored as it is. */
static NET_LEAF int32_t net_rank_entry_$y$s(const struct net_rank_table *p, int32_t place, const $y_t *bases,
    const $s_t *slopes, const uint32_t *bits, const $y_t *plain) {
    const int32_t within = place & 31;
    int32_t block = (int32_t)((uint32_t)place >> 5);
    int32_t v;
    int32_t k;
    if (p->plain_size != 0 && place >= p->plain_first) {
        if (place < p->plain_first + p->plain_size) {
            return (int32_t)plain[place - p->plain_first];
        }
        block -= (int32_t)((uint32_t)p->plain_size >> 5);
    }
    v = (int32_t)bases[block] + within * (p->has_slopes ? (int32_t)slopes[block] : p->slope);
    for (k = 0; k < p->bits; k++) {
        v += net_bits_below(bits[block * p->bits + k], within) * ((int32_t)1 << k);
    }
    return v;
}

/// rank_table_row(x, y, s) needs rank_entry(y, s)
/* The entries for n codes; see `net_table_row`. */
static NET_LEAF void net_rank_table_row_$x$y$s$o(const struct net_rank_table *p, const $x_t *$restrict x,
    const $y_t *bases, const $s_t *slopes, const uint32_t *bits, const $y_t *plain, $y_t *$restrict y) {
    const int32_t from = p->x.s3;
    const int32_t to = p->y.s3;
    int32_t i;
    for (i = 0; i < p->n.n3; i++) {
        int32_t v = (int32_t)x[i * from];
        v = v < p->least ? p->least : v;
        v = v > p->most ? p->most : v;
        y[i * to] = ($y_t)net_rank_entry_$y$s(p, v - p->least, bases, slopes, bits, plain);
    }
}

/// rank_table(x, y, s) needs lengths, steps, at, rank_table_row(x, y, s)
struct net_rank_table {
    struct net_lengths n;
    struct net_steps x;
    struct net_steps y;
    int32_t least; /* codes of the first and of the last entry; codes beyond them have these entries too */
    int32_t most;
    int32_t slope; /* of all entries, if those of 32 have none of their own */
    int32_t has_slopes;
    int32_t bits; /* of the numbers */
    int32_t plain_first; /* place of the first entry that is stored as it is, and how many there are */
    int32_t plain_size;
};

/* A function of one variable, its table rank-coded: see `net_rank_entry`. */
static NET_INLINE void net_rank_table_$x$y$s$o(const struct net_rank_table *p, const $x_t *$restrict x,
    const $y_t *bases, const $s_t *slopes, const uint32_t *bits, const $y_t *plain, $y_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                net_rank_table_row_$x$y$s$o(
                    p, x + net_at(&p->x, i0, i1, i2), bases, slopes, bits, plain, y + net_at(&p->y, i0, i1, i2));
            }
        }
    }
}
