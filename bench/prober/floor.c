/* Nothing but asking: one thread, one epoll, no parsing, no TLS, no results.
 *
 *   floor http|tcp PORT PATH ADDRESS...      each address once a second, until it is killed
 *
 * Every connection is closed with a reset, so that none is left in TIME_WAIT.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, TICK_MS = 10 };

struct check {
    struct sockaddr_in to;
    char request[256];
    size_t length;
    int fd, asked;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void end(struct check *c) {
    struct linger hard = {1, 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(c->fd);
    c->fd = -1;
}

static void begin(struct check *c, int poll) {
    if (c->fd >= 0) end(c); /* a second has passed: there will be no answer */
    c->asked = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) { perror("socket"); exit(1); }
    if (connect(c->fd, (struct sockaddr *)&c->to, sizeof c->to) < 0 && errno != EINPROGRESS) { end(c); return; }
    struct epoll_event wanted = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &wanted);
}

static void go_on(struct check *c, uint32_t events) {
    char answer[4096];
    if (c->fd < 0) return;
    if (events & EPOLLERR) { end(c); return; }
    if (!c->asked && events & EPOLLOUT) {
        if (!c->length) { end(c); return; } /* connected: all that tcp asks for */
        c->asked = 1;
        if (send(c->fd, c->request, c->length, MSG_NOSIGNAL) < 0) { end(c); return; }
    }
    if (events & EPOLLIN && !(recv(c->fd, answer, sizeof answer, 0) < 0 && errno == EAGAIN)) end(c);
}

int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "usage: floor http|tcp PORT PATH ADDRESS...\n"), 2;
    int count = argc - 4, poll = epoll_create1(EPOLL_CLOEXEC);
    struct check *checks = calloc(count, sizeof *checks);
    for (int i = 0; i < count; i++) {
        struct check *c = &checks[i];
        c->fd = -1;
        c->to.sin_family = AF_INET;
        c->to.sin_port = htons(atoi(argv[2]));
        inet_pton(AF_INET, argv[4 + i], &c->to.sin_addr);
        if (!strcmp(argv[1], "http"))
            c->length = snprintf(c->request, sizeof c->request, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", argv[3], argv[4 + i]);
    }
    struct epoll_event events[EVENTS];
    double began = now();
    for (long long due = 0;;) {
        for (long long upto = (now() - began) * count; due < upto; due++) begin(&checks[due % count], poll);
        int n = epoll_wait(poll, events, EVENTS, TICK_MS);
        for (int i = 0; i < n; i++) go_on(events[i].data.ptr, events[i].events);
    }
}
