/// table(x, y)
struct net_table {
    int32_t size;
    int32_t least; /* code of the first entry */
};

/* y[i] = table[x[i] - least] */
static NET_INLINE void net_table_$x$y$o(
    const struct net_table *p, const $x_t *$restrict x, const $y_t *table, $y_t *$restrict y) {
    int32_t i;
    for (i = 0; i < p->size; i++) {
        y[i] = table[(int32_t)x[i] - p->least];
    }
}
