/// curve(t) needs bits_below
struct net_curve {
    int32_t least; /* codes of the first and of the last entry; codes beyond them have these entries too */
    int32_t most;
    int32_t is_coded; /* whether 32 entries are some words */
    int32_t bits; /* words of them after the first: those of the numbers by which they rise more than a line */
};

/* The entry of a code. In words, the first of a block has its first entry in the upper 18 bits, and a slope below. */
static NET_LEAF int32_t net_curve_$t(const struct net_curve *p, const $t_t *table, int32_t code) {
    const int32_t below = code < p->least ? p->least : code;
    const int32_t place = (below > p->most ? p->most : below) - p->least;
    const int32_t within = place & 31;
    uint32_t line;
    int32_t v;
    int32_t k;
    if (!p->is_coded) {
        return (int32_t)table[place];
    }
    table += (place >> 5) * (1 + p->bits);
    line = (uint32_t)table[0];
    v = (int32_t)((line >> 14) ^ UINT32_C(0x20000)) - INT32_C(0x20000);
    v += ((int32_t)((line & UINT32_C(0x3FFF)) ^ UINT32_C(0x2000)) - 0x2000) * within;
    for (k = 0; k < p->bits; k++) {
        v += net_bits_below((uint32_t)table[1 + k], within) * ((int32_t)1 << k);
    }
    return v;
}
