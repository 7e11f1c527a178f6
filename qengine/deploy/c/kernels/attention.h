/// heads
struct net_heads {
    int32_t batch; /* elements from a batch, a head, a position, an element to the next */
    int32_t head;
    int32_t position;
    int32_t unit;
};

/// attention(q, k, v, n, y, d, e) needs heads, power, asr(i64), round_right(i64), fit(i64)
struct net_attention {
    int32_t batch;
    int32_t heads; /* of queries; as many as `groups` share the keys of one */
    int32_t groups;
    int32_t queries;
    int32_t keys;
    int32_t size; /* elements of a query, and of a value */
    int32_t value_size;
    struct net_heads q;
    struct net_heads k;
    struct net_heads v;
    struct net_heads y;
    struct net_heads mask; /* unit: from a key to the next */
    int32_t factor; /* a score is a dot times the factor, without `drop` bits */
    int8_t drop;
    int8_t causal; /* whether keys after a query take no part */
    int8_t mask_kind; /* 0: none; 1: keys with 0 take no part; 2: numbers that are added to scores */
    int8_t mask_excludes; /* whether keys with the least number take no part */
    int16_t mask_drop; /* bits that these numbers drop; negative: they are multiplied */
    int64_t mask_least;
    int64_t excluded; /* in place of a score */
    struct net_power power;
    int8_t up; /* the numerator of a result is multiplied by 2^up and by 2^more, its denominator by 2^down */
    int8_t more;
    int8_t down;
    struct net_epilogue epilogue;
};

/* The score of a query and a key. */
static NET_LEAF $e_t net_attention_score_$q$k$v$n$y$d$e(
    const struct net_attention *p, const $q_t *q, const $k_t *k, const $n_t *mask) {
    $d_t sum = 0;
    int64_t score;
    int32_t i;
    if (p->mask_kind != 0) {
        if (p->mask_kind == 1 ? mask[0] == 0 : p->mask_excludes && (int64_t)mask[0] == p->mask_least) {
            return ($e_t)p->excluded;
        }
    }
    for (i = 0; i < p->size; i++) {
        sum = ($d_t)(sum + ($d_t)q[i * p->q.unit] * k[i * p->k.unit]);
    }
    score = net_asr_i64((int64_t)sum * p->factor + ((int64_t)1 << (p->drop - 1)), p->drop);
    if (p->mask_kind == 2) {
        const int64_t added = (int64_t)mask[0];
        if (p->mask_drop > 0) {
            score += net_asr_i64(added + ((int64_t)1 << (p->mask_drop - 1)), p->mask_drop);
        } else {
            score += added * ((int64_t)1 << -p->mask_drop);
        }
    }
    return ($e_t)score;
}

/* The result of one query: sum(power * value) / sum(power), rounded once. scores and sums are memory. */
static NET_LEAF void net_attention_query_$q$k$v$n$y$d$e(const struct net_attention *p, int32_t query, const $q_t *q,
    const $k_t *k, const $v_t *v, const $n_t *mask, const uint32_t *powers, $e_t *scores, int64_t *sums, $y_t *y) {
    const int32_t keys = p->causal && query + 1 < p->keys ? query + 1 : p->keys;
    $e_t most = ($e_t)p->excluded;
    uint64_t total = 0;
    int64_t divisor;
    int32_t i;
    int32_t j;
    for (j = 0; j < keys; j++) {
        scores[j] = net_attention_score_$q$k$v$n$y$d$e(
            p, q, k + j * p->k.position, p->mask_kind != 0 ? mask + j * p->mask.unit : mask);
        most = scores[j] > most ? scores[j] : most;
    }
    for (i = 0; i < p->value_size; i++) {
        sums[i] = 0;
    }
    for (j = 0; j < keys; j++) {
        const $v_t *value = v + j * p->v.position;
        if (scores[j] != ($e_t)p->excluded) {
            const $e_t d = ($e_t)(most - scores[j]);
            const int32_t power = net_power_of(powers, d < p->power.last ? (int32_t)d : p->power.last, &p->power);
            total += (uint64_t)power;
            for (i = 0; i < p->value_size; i++) {
                sums[i] += (int64_t)power * value[i * p->v.unit];
            }
        }
    }
    divisor = (int64_t)((total > 0 ? total : 1) << p->down);
    for (i = 0; i < p->value_size; i++) {
        const int64_t number = sums[i] * ((int64_t)1 << p->up);
        int64_t whole = number / divisor;
        int64_t rest = number - whole * divisor;
        if (rest < 0) {
            rest += divisor;
            whole--;
        }
        for (j = 0; j < p->more; j++) {
            const int32_t bit = 2 * rest >= divisor;
            rest = 2 * rest - (bit ? divisor : 0);
            whole = 2 * whole + bit;
        }
        whole = 4 * whole + (rest > 0) + (2 * rest >= divisor) + (2 * rest > divisor);
        y[i * p->y.unit] = ($y_t)net_fit_i64(net_round_right_i64(whole, 2, &p->epilogue), &p->epilogue);
    }
}

/* Attention: scores, the powers of their distances from the largest, and the mean of values that these weigh. */
static NET_INLINE void net_attention_$q$k$v$n$y$d$e(const struct net_attention *p, const $q_t *q, const $k_t *k,
    const $v_t *v, const $n_t *mask, const uint32_t *powers, $e_t *scores, int64_t *sums, $y_t *y) {
    int32_t b;
    int32_t h;
    int32_t i;
    for (b = 0; b < p->batch; b++) {
        for (h = 0; h < p->heads; h++) {
            const int32_t shared = h / p->groups;
            for (i = 0; i < p->queries; i++) {
                const int32_t m = b * p->mask.batch + h * p->mask.head + i * p->mask.position;
                net_attention_query_$q$k$v$n$y$d$e(p, i, q + (b * p->q.batch + h * p->q.head + i * p->q.position),
                    k + (b * p->k.batch + shared * p->k.head), v + (b * p->v.batch + shared * p->v.head),
                    p->mask_kind != 0 ? mask + m : mask, powers, scores, sums,
                    y + (b * p->y.batch + h * p->y.head + i * p->y.position));
            }
        }
    }
}
