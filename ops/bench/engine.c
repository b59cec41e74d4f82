/* The load of `evenkeel bench hub`: sockets that are seated already, driven from one thread.
 *
 * Python would be the slower half where one message becomes two thousand deliveries. Nothing is decoded: a delivery and
 * an acknowledgement are each known by the kind that MessagePack writes at the head of a frame. A closed loop keeps a
 * number of messages under way; one is over when all its deliveries have come.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* {"t": "event"}, {"t": "ack"}, {"t": "error"} as MessagePack has them; 0xa1 stands in no text. */
static const unsigned char KIND[] = {0xa1, 't'};
static const unsigned char EVENT[] = {0xa5, 'e', 'v', 'e', 'n', 't'};
static const unsigned char ACK[] = {0xa3, 'a', 'c', 'k'};
static const unsigned char ERROR[] = {0xa5, 'e', 'r', 'r', 'o', 'r'};
enum { LONGEST = sizeof KIND + sizeof EVENT, BUFFER = 1 << 18, READY = 512, BURST = 64, DIGITS = 10 };

struct connection {
    int fd;
    size_t carried; /* bytes from the end of what came last, in which a kind may have begun */
    unsigned char carry[LONGEST];
};

struct sender {
    int fd;
    unsigned char *frame;
    size_t size, digits_at; /* where the number that makes its client id unique is written */
};

struct counts {
    uint64_t sent, delivered, acknowledged, refused, lost; /* lost: connections */
};

struct engine {
    int poll;
    struct connection *connections;
    int connected;
    struct sender *senders;
    int sending, turn;
    struct counts counts;
    unsigned char buffer[BUFFER + LONGEST];
};

struct engine *engine_new(int connections, int senders) {
    struct engine *engine = calloc(1, sizeof *engine);
    engine->poll = epoll_create1(0);
    engine->connections = calloc(connections, sizeof *engine->connections);
    engine->senders = calloc(senders, sizeof *engine->senders);
    return engine;
}

void engine_free(struct engine *engine) {
    for (int n = 0; n < engine->sending; n++) free(engine->senders[n].frame);
    close(engine->poll);
    free(engine->connections);
    free(engine->senders);
    free(engine);
}

int engine_seat(struct engine *engine, int fd) {
    int n = engine->connected++;
    engine->connections[n].fd = fd;
    struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = n};
    return epoll_ctl(engine->poll, EPOLL_CTL_ADD, fd, &wanted);
}

void engine_sender(struct engine *engine, int fd, const unsigned char *frame, size_t size, size_t digits_at) {
    struct sender *sender = &engine->senders[engine->sending++];
    sender->fd = fd;
    sender->frame = malloc(size);
    memcpy(sender->frame, frame, size);
    sender->size = size;
    sender->digits_at = digits_at;
}

void engine_counts(const struct engine *engine, struct counts *counts) { *counts = engine->counts; }

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void send_next(struct engine *engine) {
    struct sender *sender = &engine->senders[engine->turn];
    engine->turn = (engine->turn + 1) % engine->sending;
    uint64_t number = ++engine->counts.sent;
    for (int digit = DIGITS - 1; digit >= 0; digit--, number /= 10)
        sender->frame[sender->digits_at + digit] = '0' + number % 10;
    /* A frame is far smaller than a socket's buffer, and few are ever under way on one connection. */
    if (send(sender->fd, sender->frame, sender->size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sender->size)
        engine->counts.lost++;
}

static void take(struct engine *engine, struct connection *from) {
    unsigned char *buffer = engine->buffer;
    memcpy(buffer, from->carry, from->carried);
    ssize_t came = recv(from->fd, buffer + from->carried, BUFFER, MSG_DONTWAIT);
    if (came <= 0) {
        if (came == 0 || (errno != EAGAIN && errno != EINTR)) {
            engine->counts.lost++;
            epoll_ctl(engine->poll, EPOLL_CTL_DEL, from->fd, 0);
        }
        return;
    }
    unsigned char *at = buffer, *end = buffer + from->carried + came, *seen = buffer;
    while ((at = memmem(at, end - at, KIND, sizeof KIND))) {
        unsigned char *kind = at + sizeof KIND;
        size_t left = end - kind;
        at = kind;
        if (left >= sizeof EVENT && !memcmp(kind, EVENT, sizeof EVENT)) engine->counts.delivered++;
        else if (left >= sizeof ACK && !memcmp(kind, ACK, sizeof ACK)) engine->counts.acknowledged++;
        else if (left >= sizeof ERROR && !memcmp(kind, ERROR, sizeof ERROR)) engine->counts.refused++;
        else continue;
        seen = at;
    }
    from->carried = end - seen < LONGEST - 1 ? end - seen : LONGEST - 1;
    memcpy(from->carry, end - from->carried, from->carried);
}

static void serve(struct engine *engine, double within_s) {
    struct epoll_event ready[READY];
    struct timespec wait = {0, within_s > 1e-3 ? 1000000 : (long)(within_s * 1e9)};
    int found = epoll_pwait2(engine->poll, ready, READY, &wait, 0);
    for (int n = 0; n < found; n++) take(engine, &engine->connections[ready[n].data.u32]);
}

/* Keep `window` messages of `members` deliveries each under way for `seconds`; call it again to go on. */
void engine_run(struct engine *engine, int window, int members, double seconds) {
    for (double now, until = now_s() + seconds; (now = now_s()) < until;) {
        struct counts *counts = &engine->counts;
        for (int n = 0; n < BURST && (counts->sent + 1) * members <= counts->delivered + (uint64_t)window * members; n++)
            send_next(engine);
        serve(engine, until - now);
    }
}

/* Wait at most `seconds` until every delivery of what was sent has come. */
void engine_drain(struct engine *engine, int members, double seconds) {
    for (double now, until = now_s() + seconds; (now = now_s()) < until;) {
        if (engine->counts.delivered >= engine->counts.sent * members) break;
        serve(engine, until - now);
    }
}
