/// add(a, b, y, v) needs at, requantize(v)
struct net_add {
    struct net_lengths n;
    struct net_steps a;
    struct net_steps b;
    struct net_steps y;
    int8_t left_a; /* bits by which a term is shifted left, to the fraction bits of the finest */
    int8_t left_b;
    int8_t sign_b; /* -1 subtracts b */
    struct net_epilogue epilogue;
};

/* a + b, exact in the finest format and rounded once. */
static NET_INLINE void net_add_$a$b$y$v$o(
    const struct net_add *p, const $a_t *$restrict a, const $b_t *$restrict b, $y_t *$restrict y) {
    const $v_t factor_a = ($v_t)(($v_t)1 << p->left_a);
    const $v_t factor_b = ($v_t)((($v_t)1 << p->left_b) * p->sign_b);
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
                    const $v_t sum = ($v_t)(row_a[i * p->a.s3] * factor_a + row_b[i * p->b.s3] * factor_b);
                    row_y[i * p->y.s3] = ($y_t)net_requantize_$v(sum, &p->epilogue);
                }
            }
        }
    }
}

/// add_aligned(a, b, y) needs at, requantize(i32), requantize_by(i32)
struct net_add_aligned {
    struct net_lengths n;
    struct net_steps a;
    struct net_steps b;
    struct net_steps y;
    struct net_epilogue align_a;
    struct net_epilogue align_b;
    int8_t sign_b; /* -1 subtracts b */
    struct net_epilogue epilogue;
};

/* a + b, each brought to the format of the sum first. */
static NET_INLINE void net_add_aligned_$a$b$y$o(
    const struct net_add_aligned *p, const $a_t *$restrict a, const $b_t *$restrict b, $y_t *$restrict y) {
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
                    const int32_t term_a = net_requantize_i32((int32_t)row_a[i * p->a.s3], &p->align_a);
                    const int32_t term_b = net_requantize_i32((int32_t)row_b[i * p->b.s3], &p->align_b);
                    row_y[i * p->y.s3] = ($y_t)net_requantize_i32(term_a + term_b * p->sign_b, &p->epilogue);
                }
            }
        }
    }
}

/// add_term(x, v) needs at
struct net_add_term {
    struct net_lengths n;
    struct net_steps x;
    int8_t left; /* bits by which the term is shifted left, to the fraction bits of the finest */
    int8_t is_first; /* whether it is the first term: the sums hold nothing yet */
};

/* Adds a term to exact sums, which lie one after the other. */
static NET_INLINE void net_add_term_$x$v(const struct net_add_term *p, const $x_t *x, $v_t *sum) {
    const $v_t factor = ($v_t)(($v_t)1 << p->left);
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                const $x_t *row = x + net_at(&p->x, i0, i1, i2);
                $v_t *row_sum = sum + ((i0 * p->n.n1 + i1) * p->n.n2 + i2) * p->n.n3;
                for (i = 0; i < p->n.n3; i++) {
                    const $v_t before = p->is_first ? ($v_t)0 : row_sum[i];
                    row_sum[i] = ($v_t)(before + row[i * p->x.s3] * factor);
                }
            }
        }
    }
}

/// multiply(a, b, y, v) needs at, requantize(v)
struct net_multiply {
    struct net_lengths n;
    struct net_steps a;
    struct net_steps b;
    struct net_steps y;
    struct net_epilogue epilogue;
};

/* a * b, rounded once. */
static NET_INLINE void net_multiply_$a$b$y$v$o(
    const struct net_multiply *p, const $a_t *$restrict a, const $b_t *$restrict b, $y_t *$restrict y) {
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
                    const $v_t product = ($v_t)(($v_t)row_a[i * p->a.s3] * ($v_t)row_b[i * p->b.s3]);
                    row_y[i * p->y.s3] = ($y_t)net_requantize_$v(product, &p->epilogue);
                }
            }
        }
    }
}

/// prelu(a, b, y, v) needs at, requantize(v)
struct net_prelu {
    struct net_lengths n;
    struct net_steps a;
    struct net_steps b;
    struct net_steps y;
    int8_t left_a; /* bits by which an element that is not negative is shifted left */
    int8_t left_b; /* the same of a product */
    struct net_epilogue epilogue;
};

/* a where it is 0 or more and a * b below, rounded once. */
static NET_INLINE void net_prelu_$a$b$y$v$o(
    const struct net_prelu *p, const $a_t *$restrict a, const $b_t *$restrict b, $y_t *$restrict y) {
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
                    const $v_t x = ($v_t)row_a[i * p->a.s3];
                    const $v_t factor = x < 0 ? ($v_t)(($v_t)row_b[i * p->b.s3] * factor_b) : factor_a;
                    row_y[i * p->y.s3] = ($y_t)net_requantize_$v(($v_t)(x * factor), &p->epilogue);
                }
            }
        }
    }
}

/// divide(a, b, y, v) needs at, fit(v), round_right(v)
struct net_divide {
    struct net_lengths n;
    struct net_steps a;
    struct net_steps b;
    struct net_steps y;
    int8_t left_a; /* bits by which the dividend is shifted left */
    int8_t left_b; /* the same of the divisor */
    int32_t least; /* quotient of a negative number by 0; that of 0 by 0 is 0 */
    int32_t most; /* quotient of a positive number by 0 */
    struct net_epilogue epilogue; /* of a quotient with two fraction bits */
};

/* a / b, rounded once. The quotient rounded down gets two more bits, which say what remains: nothing, less than half of
 * the divisor, half, or more. They round like the exact quotient. */
static NET_INLINE void net_divide_$a$b$y$v$o(
    const struct net_divide *p, const $a_t *$restrict a, const $b_t *$restrict b, $y_t *$restrict y) {
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
                    $v_t dividend = ($v_t)(row_a[i * p->a.s3] * factor_a);
                    $v_t divisor = ($v_t)(row_b[i * p->b.s3] * factor_b);
                    $v_t code;
                    if (divisor == 0) {
                        code = dividend < 0 ? ($v_t)p->least : dividend > 0 ? ($v_t)p->most : ($v_t)0;
                        code = code < ($v_t)p->epilogue.low ? ($v_t)p->epilogue.low : code;
                        code = code > ($v_t)p->epilogue.high ? ($v_t)p->epilogue.high : code;
                    } else {
                        $v_t quotient;
                        $v_t rest;
                        if (divisor < 0) {
                            dividend = ($v_t)(-dividend);
                            divisor = ($v_t)(-divisor);
                        }
                        quotient = ($v_t)(dividend / divisor);
                        rest = ($v_t)(dividend % divisor);
                        if (rest < 0) {
                            rest = ($v_t)(rest + divisor);
                            quotient = ($v_t)(quotient - 1);
                        }
                        quotient = ($v_t)(4 * quotient + (rest > 0) + (2 * rest >= divisor) + (2 * rest > divisor));
                        code = net_fit_$v(net_round_right_$v(quotient, 2, &p->epilogue), &p->epilogue);
                    }
                    row_y[i * p->y.s3] = ($y_t)code;
                }
            }
        }
    }
}

/// is_negative(y)
/* Whether a number of any type is negative: half of it is more. Compilers warn of unsigned numbers below 0. */
static NET_LEAF int net_is_negative_$y($y_t x) {
    return x / 2 > x;
}

/// wrapped(y) needs is_negative(y)
/* The number of the low bits of an integer. */
static NET_LEAF $y_t net_wrapped_$y(uint64_t v) {
    const int32_t bits = (int32_t)(8 * sizeof($y_t));
    const uint64_t mask = (uint64_t)-1 >> (64 - bits);
    v &= mask;
    if (net_is_negative_$y(($y_t)-1) && (v >> (bits - 1)) != 0) {
        return ($y_t)(-(int64_t)(mask - v) - 1);
    }
    return ($y_t)v;
}

/// integer_arithmetic(y) needs at, wrapped(y), is_negative(y)
struct net_integer_arithmetic {
    struct net_lengths n;
    struct net_steps a;
    struct net_steps b;
    struct net_steps y;
    int8_t operation; /* 0: a + b, 1: a - b, 2: a * b, 3: a / b, cut toward 0 */
};

/* Arithmetic on integers, which wraps. */
static NET_INLINE void net_integer_arithmetic_$y$o(
    const struct net_integer_arithmetic *p, const $y_t *$restrict a, const $y_t *$restrict b, $y_t *$restrict y) {
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
                    uint64_t result;
                    if (p->operation == 0) {
                        result = (uint64_t)x + (uint64_t)z;
                    } else if (p->operation == 1) {
                        result = (uint64_t)x - (uint64_t)z;
                    } else if (p->operation == 2) {
                        result = (uint64_t)x * (uint64_t)z;
                    } else if (z == 0) {
                        result = 0; /* an error in the model */
                    } else if (z == ($y_t)-1 && net_is_negative_$y(z)) {
                        result = (uint64_t)0 - (uint64_t)x; /* the least number wraps to itself */
                    } else {
                        result = (uint64_t)(x / z);
                    }
                    row_y[i * p->y.s3] = net_wrapped_$y(result);
                }
            }
        }
    }
}
