/// pool_window
struct net_pool_window {
    int32_t images;
    int32_t channels;
    int32_t in_d; /* lengths of the input, of the output and of a window along up to three axes */
    int32_t in_h;
    int32_t in_w;
    int32_t out_d;
    int32_t out_h;
    int32_t out_w;
    int32_t window_d;
    int32_t window_h;
    int32_t window_w;
    int32_t stride_d;
    int32_t stride_h;
    int32_t stride_w;
    int32_t dilation_d;
    int32_t dilation_h;
    int32_t dilation_w;
    int32_t pad_d; /* cells of padding before the input */
    int32_t pad_h;
    int32_t pad_w;
    int32_t x_n; /* elements from one place along each axis to the next, in the input and in the output */
    int32_t x_c;
    int32_t x_d;
    int32_t x_h;
    int32_t x_w;
    int32_t y_n;
    int32_t y_c;
    int32_t y_d;
    int32_t y_h;
    int32_t y_w;
};

/// max_pool_planes(x) needs pool_window
struct net_max_pool_planes {
    struct net_pool_window window;
    int64_t least; /* of a window in the padding alone */
};

/* The largest element of each window, channel by channel. */
static NET_INLINE void net_max_pool_planes_$x$o(
    const struct net_max_pool_planes *p, const $x_t *$restrict x, $x_t *$restrict y) {
    const struct net_pool_window *w = &p->window;
    int32_t plane;
    int32_t od;
    int32_t oh;
    int32_t ow;
    int32_t kd;
    int32_t kh;
    int32_t kw;
    for (plane = 0; plane < w->images * w->channels; plane++) {
        const int32_t image = plane / w->channels;
        const int32_t channel = plane % w->channels;
        const $x_t *from = x + (image * w->x_n + channel * w->x_c);
        $x_t *to = y + (image * w->y_n + channel * w->y_c);
        for (od = 0; od < w->out_d; od++) {
            for (oh = 0; oh < w->out_h; oh++) {
                for (ow = 0; ow < w->out_w; ow++) {
                    $x_t most = ($x_t)p->least;
                    for (kd = 0; kd < w->window_d; kd++) {
                        const int32_t d = od * w->stride_d - w->pad_d + kd * w->dilation_d;
                        if (d < 0 || d >= w->in_d) {
                            continue;
                        }
                        for (kh = 0; kh < w->window_h; kh++) {
                            const int32_t h = oh * w->stride_h - w->pad_h + kh * w->dilation_h;
                            if (h < 0 || h >= w->in_h) {
                                continue;
                            }
                            for (kw = 0; kw < w->window_w; kw++) {
                                const int32_t i = ow * w->stride_w - w->pad_w + kw * w->dilation_w;
                                if (i >= 0 && i < w->in_w) {
                                    const $x_t v = from[d * w->x_d + h * w->x_h + i * w->x_w];
                                    most = v > most ? v : most;
                                }
                            }
                        }
                    }
                    to[od * w->y_d + oh * w->y_h + ow * w->y_w] = most;
                }
            }
        }
    }
}

/// keep_larger(x)
/* most[c] = max(most[c], x[c]) for neighbouring channels. */
static NET_LEAF void net_keep_larger_$x$o(const $x_t *$restrict x, $x_t *$restrict most, int32_t channels) {
    int32_t c;
    for (c = 0; c < channels; c++) {
        most[c] = x[c] > most[c] ? x[c] : most[c];
    }
}

/// max_pool_channels(x) needs pool_window, keep_larger(x)
struct net_max_pool_channels {
    struct net_pool_window window;
    int64_t least; /* of a window in the padding alone */
};

/* The largest element of each window, for all channels of a pixel at a time, which are neighbours. */
static NET_INLINE void net_max_pool_channels_$x$o(
    const struct net_max_pool_channels *p, const $x_t *$restrict x, $x_t *$restrict y) {
    const struct net_pool_window *w = &p->window;
    int32_t image;
    int32_t od;
    int32_t oh;
    int32_t ow;
    int32_t kd;
    int32_t kh;
    int32_t kw;
    int32_t c;
    for (image = 0; image < w->images; image++) {
        for (od = 0; od < w->out_d; od++) {
            for (oh = 0; oh < w->out_h; oh++) {
                for (ow = 0; ow < w->out_w; ow++) {
                    $x_t *most = y + (image * w->y_n + od * w->y_d + oh * w->y_h + ow * w->y_w);
                    int32_t is_first = 1;
                    for (kd = 0; kd < w->window_d; kd++) {
                        const int32_t d = od * w->stride_d - w->pad_d + kd * w->dilation_d;
                        if (d < 0 || d >= w->in_d) {
                            continue;
                        }
                        for (kh = 0; kh < w->window_h; kh++) {
                            const int32_t h = oh * w->stride_h - w->pad_h + kh * w->dilation_h;
                            if (h < 0 || h >= w->in_h) {
                                continue;
                            }
                            for (kw = 0; kw < w->window_w; kw++) {
                                const int32_t i = ow * w->stride_w - w->pad_w + kw * w->dilation_w;
                                if (i >= 0 && i < w->in_w) {
                                    const $x_t *pixel = x + (image * w->x_n + d * w->x_d + h * w->x_h + i * w->x_w);
                                    if (is_first) {
                                        (void)memcpy(most, pixel, (size_t)w->channels * sizeof(*most));
                                        is_first = 0;
                                    } else {
                                        net_keep_larger_$x$o(pixel, most, w->channels);
                                    }
                                }
                            }
                        }
                    }
                    if (is_first) {
                        for (c = 0; c < w->channels; c++) {
                            most[c] = ($x_t)p->least;
                        }
                    }
                }
            }
        }
    }
}

/// max_pool_index(x) needs pool_window
struct net_max_pool_index {
    struct net_pool_window window;
    int32_t count_d; /* places from one cell along each axis to the next, as the index counts them */
    int32_t count_h;
    int32_t count_w;
};

/* The place in x of the first largest element of each window; -1 where a window lies in the padding alone. */
static NET_INLINE void net_max_pool_index_$x(const struct net_max_pool_index *p, const $x_t *$restrict x,
    int64_t *$restrict y) {
    const struct net_pool_window *w = &p->window;
    int32_t plane;
    int32_t od;
    int32_t oh;
    int32_t ow;
    int32_t kd;
    int32_t kh;
    int32_t kw;
    for (plane = 0; plane < w->images * w->channels; plane++) {
        const int32_t image = plane / w->channels;
        const int32_t channel = plane % w->channels;
        const $x_t *from = x + (image * w->x_n + channel * w->x_c);
        int64_t *to = y + (image * w->y_n + channel * w->y_c);
        for (od = 0; od < w->out_d; od++) {
            for (oh = 0; oh < w->out_h; oh++) {
                for (ow = 0; ow < w->out_w; ow++) {
                    int32_t best = -1;
                    $x_t most = 0;
                    for (kd = 0; kd < w->window_d; kd++) {
                        const int32_t d = od * w->stride_d - w->pad_d + kd * w->dilation_d;
                        for (kh = 0; kh < w->window_h; kh++) {
                            const int32_t h = oh * w->stride_h - w->pad_h + kh * w->dilation_h;
                            for (kw = 0; kw < w->window_w; kw++) {
                                const int32_t i = ow * w->stride_w - w->pad_w + kw * w->dilation_w;
                                if (d >= 0 && d < w->in_d && h >= 0 && h < w->in_h && i >= 0 && i < w->in_w) {
                                    const $x_t v = from[d * w->x_d + h * w->x_h + i * w->x_w];
                                    if (best < 0 || v > most) {
                                        most = v;
                                        best = d * p->count_d + h * p->count_h + i * p->count_w;
                                    }
                                }
                            }
                        }
                    }
                    if (best >= 0) {
                        best += plane * (w->in_d * w->in_h * w->in_w);
                    }
                    to[od * w->y_d + oh * w->y_h + ow * w->y_w] = best;
                }
            }
        }
    }
}

/// axis_extreme(x) needs at
struct net_axis_extreme {
    struct net_lengths n; /* of the axes that stay */
    struct net_steps x;
    struct net_steps y;
    struct net_lengths m; /* of the axes that are reduced */
    struct net_steps r;
    int8_t is_largest;
    int64_t end; /* of a result: the first extreme, which any element may exceed */
};

/* The largest or the smallest element over axes. */
static NET_INLINE void net_axis_extreme_$x$o(const struct net_axis_extreme *p, const $x_t *$restrict x,
    $x_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    int32_t r0;
    int32_t r1;
    int32_t r2;
    int32_t r;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                for (i = 0; i < p->n.n3; i++) {
                    const $x_t *from = x + (net_at(&p->x, i0, i1, i2) + i * p->x.s3);
                    $x_t best = ($x_t)p->end;
                    for (r0 = 0; r0 < p->m.n0; r0++) {
                        for (r1 = 0; r1 < p->m.n1; r1++) {
                            for (r2 = 0; r2 < p->m.n2; r2++) {
                                const $x_t *row = from + net_at(&p->r, r0, r1, r2);
                                for (r = 0; r < p->m.n3; r++) {
                                    const $x_t v = row[r * p->r.s3];
                                    best = (p->is_largest ? v > best : v < best) ? v : best;
                                }
                            }
                        }
                    }
                    y[net_at(&p->y, i0, i1, i2) + i * p->y.s3] = best;
                }
            }
        }
    }
}

/// axis_index(x) needs at
struct net_axis_index {
    struct net_lengths n; /* of the axes that stay */
    struct net_steps x;
    struct net_steps y;
    int32_t length; /* of the axis whose places are compared, and the elements from one place to the next */
    int32_t step;
    int8_t is_largest;
    int8_t is_last; /* whether of equal elements the last counts */
};

/* The place of the largest or the smallest element along an axis. */
static NET_INLINE void net_axis_index_$x(const struct net_axis_index *p, const $x_t *$restrict x,
    int64_t *$restrict y) {
    int32_t i0;
    int32_t i1;
    int32_t i2;
    int32_t i;
    int32_t k;
    for (i0 = 0; i0 < p->n.n0; i0++) {
        for (i1 = 0; i1 < p->n.n1; i1++) {
            for (i2 = 0; i2 < p->n.n2; i2++) {
                for (i = 0; i < p->n.n3; i++) {
                    const $x_t *from = x + (net_at(&p->x, i0, i1, i2) + i * p->x.s3);
                    $x_t best = from[0];
                    int32_t place = 0;
                    for (k = 1; k < p->length; k++) {
                        const $x_t v = from[k * p->step];
                        if ((p->is_largest ? v > best : v < best) || (p->is_last && v == best)) {
                            best = v;
                            place = k;
                        }
                    }
                    y[net_at(&p->y, i0, i1, i2) + i * p->y.s3] = place;
                }
            }
        }
    }
}
