/// loop
/* A loop over outputs of a linear operator: its steps, and the elements from one step to the next. */
struct net_loop {
    int32_t count;
    int32_t x;
    int32_t w;
    int32_t y;
    int32_t bias;
    int32_t shift;
};

/// window
/* The taps of a kernel along an axis. Output i reads positions i * step - pad + tap * dilation of the input. */
struct net_window {
    int32_t taps;
    int32_t dilation;
    int32_t step;
    int32_t pad;
    int32_t size; /* positions of the input; a tap elsewhere counts as 0 */
    int32_t x; /* elements from one position of the input to the next */
    int32_t w; /* elements from one tap of the weights to the next */
};

/// nest
/* The loops of a linear operator. The outputs of the lane are computed together; the other loops are numbered as one,
 * stack0 the outermost. Each output sums over three windows and over terms. */
struct net_nest {
    struct net_loop stack0;
    struct net_loop stack1;
    struct net_loop out0;
    struct net_loop out1;
    struct net_loop out2;
    struct net_loop lane;
    struct net_window window0; /* of the loop out0, */
    struct net_window window1; /* out1, */
    struct net_window window2; /* and out2 */
    int32_t terms;
    int32_t term_x; /* elements from one term to the next in the input */
    int32_t term_w; /* and in the weights */
};

/// span
/* The taps of a window that lie inside of the input, first to last - 1. */
struct net_span {
    int32_t x; /* element of the input at tap 0, if there were one */
    int32_t step; /* elements from one tap to the next */
    int32_t first;
    int32_t last;
};

/// place
/* The first element of a lane in each array. */
struct net_place {
    int32_t x;
    int32_t w;
    int32_t y;
    int32_t bias;
    int32_t shift;
    struct net_span span0;
    struct net_span span1;
    struct net_span span2;
};

/// locate needs nest, place
static NET_LEAF void net_clip(const struct net_window *n, int32_t i, struct net_span *span) {
    const int32_t start = i * n->step - n->pad;
    span->x = start * n->x;
    span->step = n->dilation * n->x;
    span->first = start < 0 ? (n->dilation - 1 - start) / n->dilation : 0;
    span->last = start < n->size ? (n->size - 1 - start) / n->dilation + 1 : 0;
    span->last = span->last < n->taps ? span->last : n->taps;
}

/* The lane with a number: where it begins, and the taps that it reads. */
static NET_LEAF void net_locate(const struct net_nest *n, int32_t number, struct net_place *at) {
    const int32_t c = number % n->out2.count;
    const int32_t left = number / n->out2.count;
    const int32_t b = left % n->out1.count;
    const int32_t above = left / n->out1.count;
    const int32_t a = above % n->out0.count;
    const int32_t stack = above / n->out0.count;
    const int32_t t = stack % n->stack1.count;
    const int32_t s = stack / n->stack1.count;
    at->x = s * n->stack0.x + t * n->stack1.x + a * n->out0.x + b * n->out1.x + c * n->out2.x;
    at->w = s * n->stack0.w + t * n->stack1.w + a * n->out0.w + b * n->out1.w + c * n->out2.w;
    at->y = s * n->stack0.y + t * n->stack1.y + a * n->out0.y + b * n->out1.y + c * n->out2.y;
    at->bias = s * n->stack0.bias + t * n->stack1.bias + a * n->out0.bias + b * n->out1.bias + c * n->out2.bias;
    at->shift = s * n->stack0.shift + t * n->stack1.shift + a * n->out0.shift + b * n->out1.shift + c * n->out2.shift;
    net_clip(&n->window0, a, &at->span0);
    net_clip(&n->window1, b, &at->span1);
    net_clip(&n->window2, c, &at->span2);
}

static NET_LEAF int32_t net_lanes(const struct net_nest *n) {
    return n->stack0.count * n->stack1.count * n->out0.count * n->out1.count * n->out2.count;
}
