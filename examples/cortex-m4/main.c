/* Recognize ten digits: bytes of pixels become codes, and the largest logit is the answer. */
#include <stdint.h>
#include <stdio.h>

#include "digits.h"
#include "net/net.h"

int main(int count, char **words) {
    static uint8_t image[NET_IMAGE_ELEMENTS]; /* UQ0.8: the types are those in net.h */
    static int8_t logits[NET_LOGITS_ELEMENTS];
    int i, k, best, right = 0;
    (void)count;
    (void)words;
    for (i = 0; i < 10; i++) {
        for (k = 0; k < NET_IMAGE_ELEMENTS; k++) {
            image[k] = net_image_code((float)digits[i][k] / 255.0f);
        }
        net_run(image, logits);
        for (best = 0, k = 1; k < NET_LOGITS_ELEMENTS; k++) {
            best = logits[k] > logits[best] ? k : best;
        }
        right += best == labels[i];
        printf("a %d looks like a %d, logit %d / %d\n", labels[i], best, logits[best], 1 << NET_LOGITS_FRACTION_BITS);
    }
    printf("%d of 10 are right\n", right);
    return 0;
}
