/// depthwise
struct net_depthwise {
    int32_t images;
    int32_t image_x; /* elements from one image to the next */
    int32_t image_y;
    int32_t channels; /* of the input */
    int32_t multiplier; /* filters that read the same channel */
    int32_t channel_x; /* elements from one channel to the next */
    int32_t channel_y; /* from the filters of one channel to those of the next */
    int32_t filter_y; /* from one filter of a channel to the next */
    int32_t height; /* of the output */
    int32_t width;
    int32_t row_y; /* elements from one row of the output to the next */
    int32_t column_y;
    int32_t height_x; /* of the input */
    int32_t width_x;
    int32_t row_x;
    int32_t column_x;
    int32_t kernel_height;
    int32_t kernel_width;
    int32_t stride_down;
    int32_t stride_right;
    int32_t dilation_down;
    int32_t dilation_right;
    int32_t pad_top;
    int32_t pad_left;
    int32_t has_shifts; /* 0: that of the epilogue for all; for each filter 1: one of 1 or more, 2: any */
    struct net_epilogue epilogue;
};

/// depthwise_code needs depthwise, requantize(i32), requantize_by(i32), round_right(i32), fit(i32)
/* The code of the sum of a filter. */
static NET_LEAF int32_t net_depthwise_code(int32_t sum, const int8_t *shifts, int32_t filter,
    const struct net_depthwise *p) {
    if (p->has_shifts == 0) {
        return net_requantize_i32(sum, &p->epilogue);
    }
    if (p->has_shifts == 1) {
        return net_fit_i32(net_round_right_i32(sum, shifts[filter], &p->epilogue), &p->epilogue);
    }
    return net_requantize_by_i32(sum, shifts[filter], &p->epilogue);
}

/// add_taps(x, w)
/* sums[i] += w[i] * x[i * step]: one tap of many channels. */
static NET_LEAF void net_add_taps_$x$w(
    const $x_t *NET_RESTRICT x, int32_t step, const $w_t *NET_RESTRICT w, int32_t count, int32_t *NET_RESTRICT sums) {
    int32_t i;
    for (i = 0; i < count; i++) {
        sums[i] += (int32_t)w[i] * x[i * step];
    }
}

/// nine_taps(x, w)
/* sums[i] = bias[i] + the products of nine taps of a 3x3 kernel, right and down elements apart, of many channels; next
 * weights lie between those of two taps. */
static NET_LEAF void net_nine_taps_$x$w(
    const $x_t *NET_RESTRICT x, int32_t step, int32_t right, int32_t down, const $w_t *NET_RESTRICT w, int32_t next,
    const int32_t *NET_RESTRICT bias, int32_t count, int32_t *NET_RESTRICT sums) {
    const $x_t *const x1 = x + down, *const x2 = x1 + down;
    int32_t i;
    for (i = 0; i < count; i++) {
        int32_t sum = bias[i];
        sum += (int32_t)w[i] * x[i * step];
        sum += (int32_t)w[next + i] * x[right + i * step];
        sum += (int32_t)w[2 * next + i] * x[2 * right + i * step];
        sum += (int32_t)w[3 * next + i] * x1[i * step];
        sum += (int32_t)w[4 * next + i] * x1[right + i * step];
        sum += (int32_t)w[5 * next + i] * x1[2 * right + i * step];
        sum += (int32_t)w[6 * next + i] * x2[i * step];
        sum += (int32_t)w[7 * next + i] * x2[right + i * step];
        sum += (int32_t)w[8 * next + i] * x2[2 * right + i * step];
        sums[i] = sum;
    }
}

/// lane_codes(y) needs depthwise_code
/* The codes of the sums of some channels. */
static NET_LEAF void net_lane_codes_$y(
    const struct net_depthwise *p, int32_t count, const int32_t *NET_RESTRICT sums, const int8_t *NET_RESTRICT shifts,
    $y_t *NET_RESTRICT y) {
    int32_t i;
    for (i = 0; i < count; i++) {
        y[i * p->channel_y] = ($y_t)net_depthwise_code(sums[i], shifts, i, p);
    }
}

/// depthwise_lanes(x, w, y) needs add_taps(x, w), nine_taps(x, w), lane_codes(y)
#define NET_LANES 32

/* Some channels of a pixel, whose kernel begins at (top, left) of the input. All sums come before the first code, as
 * the output may lie on the input. */
static NET_LEAF void net_depthwise_lanes_$x$w$y(
    const struct net_depthwise *p, int32_t count, int32_t top, int32_t left, const $x_t *x, const $w_t *w,
    const int32_t *bias, const int8_t *shifts, $y_t *y) {
    const int32_t next = p->channels, step = p->channel_x;
    const int32_t bottom = top + 2 * p->dilation_down, end = left + 2 * p->dilation_right;
    int32_t sums[NET_LANES];
    int32_t c, i, j;
    if (p->kernel_height == 3 && p->kernel_width == 3 && top >= 0 && left >= 0 && bottom < p->height_x
        && end < p->width_x) {
        net_nine_taps_$x$w(
            x + (top * p->row_x + left * p->column_x), step, p->column_x * p->dilation_right,
            p->row_x * p->dilation_down, w, next, bias, count, sums);
    } else {
        for (c = 0; c < count; c++) {
            sums[c] = bias[c];
        }
        for (i = 0; i < p->kernel_height; i++) {
            const int32_t at = top + i * p->dilation_down;
            if (at < 0 || at >= p->height_x) {
                continue; /* the padding holds 0 */
            }
            for (j = 0; j < p->kernel_width; j++) {
                const int32_t across = left + j * p->dilation_right;
                if (across >= 0 && across < p->width_x) {
                    net_add_taps_$x$w(
                        x + (at * p->row_x + across * p->column_x), step, w + (i * p->kernel_width + j) * next,
                        count, sums);
                }
            }
        }
    }
    net_lane_codes_$y(p, count, sums, shifts, y);
}

/// depthwise_channels(x, w, y) needs depthwise_lanes(x, w, y)
struct net_depthwise_channels {
    struct net_depthwise form;
};

/* A filter for each channel, where the channels of a pixel lie side by side: vectors hold channels. Weights are read as
 * multiplier x kernel x channels. */
static NET_INLINE void net_depthwise_channels_$x$w$y$o(
    const struct net_depthwise_channels *numbers, const $x_t *$restrict x, const $w_t *w, const int32_t *bias,
    const int8_t *shifts, $y_t *$restrict y) {
    const struct net_depthwise *const p = &numbers->form;
    const int32_t taps = p->kernel_height * p->kernel_width;
    int32_t image, down, right, j, c;
    for (image = 0; image < p->images; image++) {
        for (down = 0; down < p->height; down++) {
            for (right = 0; right < p->width; right++) {
                const int32_t top = down * p->stride_down - p->pad_top, left = right * p->stride_right - p->pad_left;
                for (j = 0; j < p->multiplier; j++) {
                    const $x_t *const from = x + image * p->image_x;
                    const $w_t *const v = w + j * taps * p->channels;
                    const int32_t *const b = bias + j * p->channels;
                    const int8_t *const s = p->has_shifts ? shifts + j * p->channels : shifts;
                    $y_t *const to = y + (image * p->image_y + down * p->row_y + right * p->column_y + j * p->filter_y);
                    for (c = 0; c + NET_LANES <= p->channels; c += NET_LANES) {
                        net_depthwise_lanes_$x$w$y(
                            p, NET_LANES, top, left, from + c * p->channel_x, v + c, b + c, p->has_shifts ? s + c : s,
                            to + c * p->channel_y);
                    }
                    if (p->channels % NET_LANES != 0) {
                        net_depthwise_lanes_$x$w$y(
                            p, p->channels % NET_LANES, top, left, from + c * p->channel_x, v + c, b + c,
                            p->has_shifts ? s + c : s, to + c * p->channel_y);
                    }
                }
            }
        }
    }
}

/// depthwise_rows(x, w, y) needs depthwise_code
#define NET_ROW 64

struct net_depthwise_rows {
    struct net_depthwise form;
};

/* A filter for each channel, where the pixels of a row lie side by side: vectors hold pixels. Weights are read as
 * filters x kernel. */
static NET_INLINE void net_depthwise_rows_$x$w$y$o(
    const struct net_depthwise_rows *numbers, const $x_t *$restrict x, const $w_t *w, const int32_t *bias,
    const int8_t *shifts, $y_t *$restrict y) {
    const struct net_depthwise *const p = &numbers->form;
    const int32_t filters = p->channels * p->multiplier, step = p->stride_right * p->column_x;
    int32_t image, filter, down, start, i, j, k;
    for (image = 0; image < p->images; image++) {
        for (filter = 0; filter < filters; filter++) {
            const $x_t *const from = x + (image * p->image_x + filter / p->multiplier * p->channel_x);
            const $w_t *const v = w + filter * p->kernel_height * p->kernel_width;
            const int32_t channel = filter / p->multiplier, other = filter % p->multiplier;
            $y_t *const to = y + (image * p->image_y + channel * p->channel_y + other * p->filter_y);
            for (down = 0; down < p->height; down++) {
                for (start = 0; start < p->width; start += NET_ROW) {
                    const int32_t end = p->width - start < NET_ROW ? p->width : start + NET_ROW;
                    int32_t sums[NET_ROW];
                    for (k = start; k < end; k++) {
                        sums[k - start] = bias[filter];
                    }
                    for (i = 0; i < p->kernel_height; i++) {
                        const int32_t at = down * p->stride_down - p->pad_top + i * p->dilation_down;
                        if (at < 0 || at >= p->height_x) {
                            continue; /* the padding holds 0 */
                        }
                        for (j = 0; j < p->kernel_width; j++) {
                            const int32_t left = j * p->dilation_right - p->pad_left;
                            const int32_t weight = v[i * p->kernel_width + j];
                            const int32_t row = at * p->row_x;
                            int32_t first = left < 0 ? (-left + p->stride_right - 1) / p->stride_right : 0;
                            int32_t last = p->width_x - left <= 0 ? 0 : (p->width_x - left - 1) / p->stride_right + 1;
                            first = first < start ? start : first;
                            last = last > end ? end : last;
                            for (k = first; k < last; k++) {
                                sums[k - start] += weight * from[row + left * p->column_x + k * step];
                            }
                        }
                    }
                    for (k = start; k < end; k++) {
                        const int32_t code = net_depthwise_code(sums[k - start], shifts, filter, p);
                        to[down * p->row_y + k * p->column_y] = ($y_t)code;
                    }
                }
            }
        }
    }
}
