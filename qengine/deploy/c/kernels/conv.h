/// window_shape
struct net_window_shape {
    int32_t planes; /* channels one after the other, or 1 where a cell holds all channels of a pixel */
    int32_t plane; /* elements of the input from one plane to the next */
    int32_t cell; /* channels of a pixel that a column holds side by side */
    int32_t cell_step; /* elements of the input from one of them to the next */
    int32_t height; /* of the input */
    int32_t width;
    int32_t row; /* elements of the input from one row to the next */
    int32_t column;
    int32_t kernel_height;
    int32_t kernel_width;
    int32_t stride_down;
    int32_t stride_right;
    int32_t dilation_down;
    int32_t dilation_right;
    int32_t pad_top;
    int32_t pad_left;
    int32_t padding; /* elements at the end of a column that meet weights of 0, for an even number of taps */
    int32_t is_joined; /* whether the cells that a kernel meets in a row lie side by side */
    int32_t zero; /* number that is taken from each code, so that 16 bits hold it */
    int32_t fours; /* order of elements for pairs: 0 as they are, 1 changed in each run, 2 in the column */
};

/// spread(x) needs words
/* count elements of the input, less zero, as 16 bits. */
static NET_LEAF void net_spread_$x(
    const $x_t *x, int32_t step, int32_t count, int32_t zero, int32_t fours, int16_t *column) {
    int32_t i = 0;
#ifdef NET_DSP
    if (fours == 1 && sizeof($x_t) == 1 && step == 1 && zero == 0) {
        for (; i + 4 <= count; i += 4) {
            const int32_t word = net_word(x + i);
            const int32_t next = (int32_t)((uint32_t)word >> 8);
            const int32_t is_signed = ($x_t)-1 < 1;
            net_put_word(column + i, is_signed ? __sxtb16(word) : (int32_t)((uint32_t)word & 0xFF00FFU));
            net_put_word(column + i + 2, is_signed ? __sxtb16(next) : (int32_t)((uint32_t)next & 0xFF00FFU));
        }
    } else if (fours == 1) {
        for (; i + 4 <= count; i += 4) {
            column[i] = (int16_t)(x[i * step] - zero);
            column[i + 1] = (int16_t)(x[(i + 2) * step] - zero);
            column[i + 2] = (int16_t)(x[(i + 1) * step] - zero);
            column[i + 3] = (int16_t)(x[(i + 3) * step] - zero);
        }
    }
#else
    (void)fours;
#endif
    for (; i < count; i++) {
        column[i] = (int16_t)(x[i * step] - zero);
    }
}

/// window_column(x) needs window_shape, spread(x)
/* The elements under the kernel of the pixel (down, right) of the output, in the order of the weights. */
static NET_LEAF void net_window_column_$x(
    const struct net_window_shape *p, const $x_t *x, int32_t down, int32_t right, int16_t *column) {
    const int32_t top = down * p->stride_down - p->pad_top, left = right * p->stride_right - p->pad_left;
    int32_t plane, i, j, k;
    const int32_t last_row = top + (p->kernel_height - 1) * p->dilation_down, run = p->kernel_width * p->cell;
    const int32_t is_in_row = p->is_joined && left >= 0 && left + p->kernel_width <= p->width;
    const int32_t is_whole = is_in_row && top >= 0 && last_row < p->height;
    int16_t *to = column;
    for (plane = 0; is_whole && plane < p->planes; plane++) {
        for (i = 0; i < p->kernel_height; i++) {
            const int32_t from = plane * p->plane + (top + i * p->dilation_down) * p->row + left * p->column;
            net_spread_$x(x + from, 1, run, p->zero, p->fours, to);
            to += run;
        }
    }
    for (plane = 0; !is_whole && plane < p->planes; plane++) {
        for (i = 0; i < p->kernel_height; i++) {
            const int32_t at = top + i * p->dilation_down;
            const int32_t from = plane * p->plane + at * p->row;
            const int32_t is_inside = at >= 0 && at < p->height;
            if (is_in_row && is_inside) {
                net_spread_$x(x + (from + left * p->column), 1, run, p->zero, p->fours, to);
                to += run;
                continue;
            }
            for (j = 0; j < p->kernel_width; j++) {
                const int32_t across = left + j * p->dilation_right;
                if (is_inside && across >= 0 && across < p->width) {
                    net_spread_$x(x + (from + across * p->column), p->cell_step, p->cell, p->zero, p->fours, to);
                } else {
                    for (k = 0; k < p->cell; k++) {
                        to[k] = (int16_t)-p->zero;
                    }
                }
                to += p->cell;
            }
        }
    }
    for (k = 0; k < p->padding; k++) {
        *to++ = 0;
    }
#ifdef NET_DSP
    if (p->fours == 2) {
        for (k = 0; k + 4 <= (int32_t)(to - column); k += 4) {
            const int16_t one = column[k + 1];
            column[k + 1] = column[k + 2];
            column[k + 2] = one;
        }
    }
#endif
}

/// conv(x, w, y) needs window_column(x), linear_tile(w, y), few_taps(w, y)
struct net_conv {
    int32_t images;
    int32_t image_x; /* elements from one image to the next */
    int32_t image_y;
    int32_t groups;
    int32_t group_x; /* elements from one group of channels to the next */
    int32_t group_y;
    int32_t height; /* of the output */
    int32_t width;
    int32_t row_y; /* elements from one row of the output to the next */
    int32_t band; /* pixels that are gathered at a time */
    int32_t by_rows; /* whether a band ends with its row, as rows do not follow each other */
    int32_t is_turned; /* whether vectors hold filters, as they have few taps; weights are turned after the columns */
    struct net_window_shape gather;
    struct net_linear_out out;
};

/* A convolution: the inputs of a few pixels are gathered in columns of 16 bits, and all filters of the group are
 * applied. */
static NET_INLINE void net_conv_$x$w$y$o(
    const struct net_conv *p, const $x_t *$restrict x, const $w_t *w, const int32_t *bias, const int8_t *shifts,
    int16_t *NET_RESTRICT columns, $y_t *$restrict y) {
    const int32_t taps = p->out.taps, pixels = p->height * p->width;
    int32_t image, group, i;
    for (image = 0; image < p->images; image++) {
        for (group = 0; group < p->groups; group++) {
            const $x_t *const from = x + image * p->image_x + group * p->group_x;
            $y_t *const to = y + image * p->image_y + group * p->group_y;
            const int32_t filter = group * p->out.filters;
            const $w_t *const v = w + filter * taps;
            const int8_t *const s = p->out.has_shifts ? shifts + filter : shifts;
            int32_t down = 0, right = 0, pixel = 0;
#ifdef NET_VECTORS
            if (p->is_turned) {
                net_turn_$w$y(&p->out, v, columns + p->band * taps);
            }
#endif
            while (pixel < pixels) {
                const int32_t left = p->by_rows ? p->width - right : pixels - pixel;
                const int32_t count = left < p->band ? left : p->band;
                $y_t *const at = to + down * p->row_y + right * p->out.pixel;
                for (i = 0; i < count; i++) {
                    net_window_column_$x(&p->gather, from, down, right, columns + i * taps);
                    right++;
                    if (right == p->width) {
                        right = 0;
                        down++;
                    }
                }
                pixel += count;
#ifdef NET_VECTORS
                if (p->is_turned) {
                    net_few_taps_tile_$w$y(&p->out, count, columns, columns + p->band * taps, bias + filter, s, at);
                    continue;
                }
#endif
                net_linear_tile_$w$y(&p->out, count, taps, columns, v, bias + filter, s, at);
            }
        }
    }
}
