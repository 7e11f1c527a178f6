/// remainder_of(y) needs is_negative(y)
/* The remainder of a division, which is not by 0, with the sign of the divisor, or of x where it truncates. */
static NET_LEAF $y_t net_remainder_of_$y($y_t x, $y_t divisor, int32_t truncates) {
    $y_t rest;
    if (divisor == ($y_t)-1 && net_is_negative_$y(divisor)) {
        return 0; /* the quotient of the least number would overflow */
    }
    rest = ($y_t)(x % divisor);
    if (!truncates && rest != 0 && net_is_negative_$y(rest) != net_is_negative_$y(divisor)) {
        rest = ($y_t)(rest + divisor);
    }
    return rest;
}

/// shifted(y) needs wrapped(y), is_negative(y)
/* The bits of x moved to the left or the right. By a negative number, or by as many as there are, only copies of the
 * sign are left to the right, and zeros to the left. */
static NET_LEAF $y_t net_shifted_$y($y_t x, $y_t by, int32_t is_left) {
    const int32_t bits = (int32_t)(8 * sizeof($y_t));
    if (net_is_negative_$y(by) || (uint64_t)by >= (uint64_t)bits) {
        return ($y_t)(net_is_negative_$y(x) && !is_left ? ($y_t)-1 : ($y_t)0);
    }
    if (is_left) {
        return net_wrapped_$y((uint64_t)x << (uint32_t)by);
    }
    if (net_is_negative_$y(x)) {
        return ($y_t)(-(-(x + 1) >> (int32_t)by) - 1);
    }
    return ($y_t)(x >> (int32_t)by);
}

/// power_of(y) needs wrapped(y)
/* x to a power that is not negative, by squares, wrapped. */
static NET_LEAF $y_t net_power_of_$y($y_t x, uint64_t exponent) {
    uint64_t factor = (uint64_t)x;
    uint64_t result = 1;
    while (exponent != 0) {
        if ((exponent & 1U) != 0) {
            result *= factor;
        }
        factor *= factor;
        exponent >>= 1;
    }
    return net_wrapped_$y(result);
}

/// integer_function(y) needs at, wrapped(y), is_negative(y), remainder_of(y), shifted(y), power_of(y)
struct net_integer_function {
    struct net_lengths n;
    struct net_steps a;
    struct net_steps b;
    struct net_steps y;
    int8_t operation; /* 0: and, 1: or, 2: xor, 3: shift left, 4: shift right, 5: remainder, 6: of truncation, 7: power,
                       8: magnitude of a, 9: sign of a, 10: a with the opposite sign */
};

/* A function of two integers. A remainder by 0, which is an error in the model, is 0. */
static NET_INLINE void net_integer_function_$y$o(
    const struct net_integer_function *p, const $y_t *$restrict a, const $y_t *$restrict b, $y_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $y_t *row_a = a + net_at(&p->a, i0, i1, i2);
                const $y_t *row_b = b + net_at(&p->b, i0, i1, i2);
                $y_t *row_y = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    const $y_t x = row_a[i * p->a.s3];
                    const $y_t z = row_b[i * p->b.s3];
                    $y_t result;
                    if (p->operation == 0) {
                        result = net_wrapped_$y((uint64_t)x & (uint64_t)z);
                    } else if (p->operation == 1) {
                        result = net_wrapped_$y((uint64_t)x | (uint64_t)z);
                    } else if (p->operation == 2) {
                        result = net_wrapped_$y((uint64_t)x ^ (uint64_t)z);
                    } else if (p->operation <= 4) {
                        result = net_shifted_$y(x, z, p->operation == 3);
                    } else if (p->operation <= 6) {
                        result = ($y_t)(z == 0 ? 0 : net_remainder_of_$y(x, z, p->operation == 6));
                    } else if (p->operation == 7) {
                        result = net_power_of_$y(x, (uint64_t)z);
                    } else if (p->operation == 9) {
                        result = ($y_t)(x == 0 ? ($y_t)0 : net_is_negative_$y(x) ? ($y_t)-1 : ($y_t)1);
                    } else if (p->operation == 10 || net_is_negative_$y(x)) {
                        result = net_wrapped_$y((uint64_t)0 - (uint64_t)x);
                    } else {
                        result = x;
                    }
                    row_y[i * p->y.s3] = result;
                }
            }
        }
    }
}

/// remainder(a, b, y, v) needs at, remainder_of(v), requantize(v)
struct net_remainder {
    struct net_lengths n;
    struct net_steps a;
    struct net_steps b;
    struct net_steps y;
    int8_t left_a; /* bits by which an operand is shifted left, to the fraction bits of the finest */
    int8_t left_b;
    int8_t truncates; /* whether it has the sign of a, else that of b */
    struct net_epilogue epilogue;
};

/* The remainder of a / b, exact in the finest format and rounded once; 0 for a b of 0, an error in the model. */
static NET_INLINE void net_remainder_$a$b$y$v$o(
    const struct net_remainder *p, const $a_t *$restrict a, const $b_t *$restrict b, $y_t *$restrict y) {
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
                $y_t *row_y = y + net_at(&p->y, i0, i1, i2);
                for (i = 0; i < p->n.n3; i++) {
                    const $v_t x = ($v_t)(($v_t)row_a[i * p->a.s3] * factor_a);
                    const $v_t z = ($v_t)(($v_t)row_b[i * p->b.s3] * factor_b);
                    const $v_t rest = ($v_t)(z == 0 ? 0 : net_remainder_of_$v(x, z, p->truncates));
                    row_y[i * p->y.s3] = ($y_t)net_requantize_$v(rest, &p->epilogue);
                }
            }
        }
    }
}
