/// whole_root
/* The root of a number below 2^62, rounded down: bit by bit. */
static NET_LEAF uint64_t net_whole_root(uint64_t v) {
    uint64_t root = 0;
    uint64_t bit = (uint64_t)1 << 60;
    while (bit != 0) {
        if (v >= root + bit) {
            v -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
        bit >>= 2;
    }
    return root;
}

/// bit_length
/* The number of bits of a number that is 0 or more. */
static NET_LEAF int32_t net_bit_length(int64_t v) {
    int32_t n = 0;
    while (v >> n != 0) {
        n++;
    }
    return n;
}

/// row_scale needs whole_root, bit_length, asr(i64)
struct net_row_scale {
    int32_t count; /* elements of a row; 1 for a norm */
    int8_t count_bits; /* bits of the count */
    int8_t reciprocal; /* bits w of the largest reciprocal */
    int8_t exponent; /* epsilon * 2^exponent is added to the sum under the root */
    int64_t epsilon;
};

/* The reciprocal root of a row, from the sums of its codes and of their squares; *shift is the number of bits to drop
 * after a product with it. A sum under the root is brought to 61 or 62 bits first, so that the root has 31. */
static NET_LEAF int64_t net_reciprocal(int64_t sum, int64_t squares, const struct net_row_scale *p, int32_t *shift) {
    const int64_t n = p->count;
    const int64_t mean = sum >= 0 ? sum / n : -((n - 1 - sum) / n);
    const int64_t rest = sum - n * mean;
    const int64_t about_mean = squares - mean * (sum + rest);
    int32_t down = net_bit_length(about_mean) + p->count_bits - 61;
    int32_t up;
    int64_t under;
    int64_t root;
    down = down > p->exponent ? down : p->exponent;
    down += down & 1;
    under = n * (about_mean >> down) - ((rest * rest) >> down);
    under += p->epsilon >> (down - p->exponent < 62 ? down - p->exponent : 62);
    *shift = 1;
    if (under <= 0) {
        return 0;
    }
    up = (62 - net_bit_length(under)) & ~1;
    up = up < 60 ? up : 60;
    root = (int64_t)net_whole_root((uint64_t)under << up);
    *shift = p->reciprocal + 6 + (down - up) / 2;
    *shift = *shift < 62 ? *shift : 62;
    return ((int64_t)1 << (p->reciprocal + 30)) / root;
}

/// offset_of
/* A computed offset with `shift` fraction bits fewer: rounded half to even. */
static NET_LEAF int64_t net_offset_of(int64_t code, int32_t shift) {
    int64_t whole;
    int64_t rest;
    if (shift <= 0) {
        return code * ((int64_t)1 << (-shift < 40 ? -shift : 40));
    }
    if (shift > 18) {
        return 0; /* a code is below half a unit */
    }
    whole = code < 0 ? ~(~code >> shift) : code >> shift;
    rest = 2 * (code - whole * ((int64_t)1 << shift));
    return whole + ((rest > (int64_t)1 << shift || (rest == (int64_t)1 << shift && (whole & 1) != 0)) ? 1 : 0);
}

/// normalize_row(x, g, b, y, s, c, z) needs rows, strides, row_scale, offset_of, requantize(i64)
struct net_normalize_row {
    struct net_rows rows;
    struct net_strides x;
    struct net_strides y;
    struct net_strides gain;
    struct net_strides offset;
    struct net_row_scale scale;
    int8_t centred; /* whether the mean is subtracted */
    int8_t has_gain;
    int8_t has_offset;
    int16_t offset_shift; /* bits that offsets drop */
    struct net_epilogue epilogue;
};

static NET_LEAF void net_normalize_row_$x$g$b$y$s$c$z$o(const struct net_normalize_row *p, const $x_t *$restrict x,
    const $g_t *gain, const $b_t *offset, $y_t *$restrict y) {
    const struct net_rows *r = &p->rows;
    $s_t sum = 0;
    $s_t squares = 0;
    int64_t factor;
    int32_t shift;
    int32_t i;
    int32_t j;
    int32_t k;
    for (i = 0; i < r->planes; i++) {
        for (j = 0; j < r->lines; j++) {
            const $x_t *from = x + i * p->x.plane + j * p->x.line;
            for (k = 0; k < r->length; k++) {
                const $s_t v = from[k * p->x.unit];
                sum = ($s_t)(sum + v);
                squares = ($s_t)(squares + v * v);
            }
        }
    }
    sum = p->centred ? sum : 0;
    factor = net_reciprocal(sum, squares, &p->scale, &shift);
    for (i = 0; i < r->planes; i++) {
        for (j = 0; j < r->lines; j++) {
            const $x_t *from = x + i * p->x.plane + j * p->x.line;
            const int32_t of_gain = i * p->gain.plane + j * p->gain.line;
            const int32_t of_offset = i * p->offset.plane + j * p->offset.line;
            $y_t *to = y + i * p->y.plane + j * p->y.line;
            for (k = 0; k < r->length; k++) {
                const $c_t v = ($c_t)(($c_t)p->scale.count * ($c_t)from[k * p->x.unit] - ($c_t)sum);
                const int64_t product = (int64_t)v * factor + ((int64_t)1 << (shift - 1));
                const $z_t z = ($z_t)net_asr_i64(product, shift);
                int64_t w = z;
                if (p->has_gain) {
                    w = (int64_t)z * gain[of_gain + k * p->gain.unit];
                }
                if (p->has_offset) {
                    w += net_offset_of((int64_t)offset[of_offset + k * p->offset.unit], p->offset_shift);
                }
                to[k * p->y.unit] = ($y_t)net_requantize_i64(w, &p->epilogue);
            }
        }
    }
}

/// normalize(x, g, b, y, s, c, z) needs normalize_row(x, g, b, y, s, c, z)
struct net_normalize {
    struct net_normalize_row row;
};

/* (x - mean) / deviation * gain + offset of rows: exact sums, a reciprocal of a stated width, two roundings. */
static NET_INLINE void net_normalize_$x$g$b$y$s$c$z$o(const struct net_normalize *p, const $x_t *$restrict x,
    const $g_t *gain, const $b_t *offset, $y_t *$restrict y) {
    const struct net_normalize_row *row = &p->row;
    int32_t i;
    int32_t j;
    int32_t k;
    for (i = 0; i < row->rows.outer; i++) {
        for (j = 0; j < row->rows.middle; j++) {
            for (k = 0; k < row->rows.inner; k++) {
                const int32_t from = i * row->x.outer + j * row->x.middle + k * row->x.inner;
                const int32_t to = i * row->y.outer + j * row->y.middle + k * row->y.inner;
                const int32_t g = i * row->gain.outer + j * row->gain.middle + k * row->gain.inner;
                const int32_t b = i * row->offset.outer + j * row->offset.middle + k * row->offset.inner;
                net_normalize_row_$x$g$b$y$s$c$z$o(
                    row, x + from, row->has_gain ? gain + g : gain, row->has_offset ? offset + b : offset, y + to);
            }
        }
    }
}
