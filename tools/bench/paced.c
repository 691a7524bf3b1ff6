// SPDX-License-Identifier: Apache-2.0
/*
 * paced PORT PATH RATE SECONDS CONNECTIONS
 *
 * Sends GET requests at a fixed rate over keep-alive connections and prints a
 * line of JSON.  A latency counts from when its request was due, so that a slow
 * answer does not hide the requests that had to wait for it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 256
#define MAX_ANSWER 65536
#define NS_PER_S 1000000000ull

struct connection {
	int fd;
	bool busy;
	uint64_t due_ns;	/* of the request that is under way */
	size_t length;
	char answer[MAX_ANSWER + 1];
};

static struct connection connections[MAX_CONNECTIONS];
static size_t connection_count;
static struct pollfd polled[MAX_CONNECTIONS];
static char request[512];
static size_t request_length;

static uint32_t *latencies_us, *late_us;
static size_t answered, sent, wanted, errors;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		perror("paced: connect");
		exit(1);
	}
	return fd;
}

/* True when the whole answer is there; such answers have a Content-Length. */
static bool complete(struct connection *connection)
{
	const char *body, *field;

	connection->answer[connection->length] = '\0';
	body = strstr(connection->answer, "\r\n\r\n");
	field = strcasestr(connection->answer, "\r\ncontent-length:");
	if (!body || !field)
		return false;
	body += 4;
	return connection->length - (size_t)(body - connection->answer) >=
	       strtoul(field + strlen("\r\ncontent-length:"), NULL, 10);
}

static void receive(struct connection *connection)
{
	ssize_t got = recv(connection->fd, connection->answer + connection->length,
			   MAX_ANSWER - connection->length, MSG_DONTWAIT);

	if (got <= 0 && (errno == EAGAIN || errno == EINTR) && got)
		return;
	if (got <= 0) {
		fprintf(stderr, "paced: a connection was closed\n");
		exit(1);
	}
	connection->length += (size_t)got;
	if (!complete(connection))
		return;
	if (strncmp(connection->answer, "HTTP/1.1 200", 12))
		errors++;
	latencies_us[answered++] = (uint32_t)((now_ns() - connection->due_ns) / 1000);
	connection->busy = false;
	connection->length = 0;
}

/* Sends what is due as far as connections are free. */
static void send_due(uint64_t start, double gap_ns)
{
	for (size_t i = 0; i < connection_count && sent < wanted; i++) {
		struct connection *connection = &connections[i];
		uint64_t now = now_ns(), due = start + (uint64_t)((double)sent * gap_ns);

		if (due > now)
			return;
		if (connection->busy)
			continue;
		if (send(connection->fd, request, request_length, MSG_NOSIGNAL) !=
		    (ssize_t)request_length) {
			perror("paced: send");
			exit(1);
		}
		connection->busy = true;
		connection->due_ns = due;
		late_us[sent++] = (uint32_t)((now - due) / 1000);
	}
}

static void run(uint64_t start, double gap_ns, uint64_t give_up)
{
	while (answered < wanted && now_ns() < give_up) {
		uint64_t due = start + (uint64_t)((double)sent * gap_ns), now;
		struct timespec wait = { .tv_sec = 1 };
		bool idle = false;

		send_due(start, gap_ns);
		due = start + (uint64_t)((double)sent * gap_ns);
		now = now_ns();
		for (size_t i = 0; i < connection_count; i++)
			idle |= !connections[i].busy;
		if (sent < wanted && idle)
			wait = (struct timespec){
				.tv_nsec = due > now ? (long)((due - now) % NS_PER_S) : 0 };
		if (ppoll(polled, connection_count, &wait, NULL) <= 0)
			continue;
		for (size_t i = 0; i < connection_count; i++)
			if (polled[i].revents)
				receive(&connections[i]);
	}
}

static int compare(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return a < b ? -1 : a > b;
}

static uint32_t share_of(uint32_t *values, size_t count, double share)
{
	if (!count)
		return 0;
	qsort(values, count, sizeof(*values), compare);
	return values[(size_t)((double)(count - 1) * share)];
}

int main(int argc, char **argv)
{
	double rate, seconds;
	uint64_t start, end;

	if (argc != 6) {
		fprintf(stderr, "usage: paced PORT PATH RATE SECONDS CONNECTIONS\n");
		return 2;
	}
	rate = atof(argv[3]);
	seconds = atof(argv[4]);
	connection_count = (size_t)atoi(argv[5]);
	wanted = (size_t)(rate * seconds);
	latencies_us = calloc(wanted + 1, sizeof(*latencies_us));
	late_us = calloc(wanted + 1, sizeof(*late_us));
	if (rate <= 0 || !wanted || !connection_count || connection_count > MAX_CONNECTIONS ||
	    !latencies_us || !late_us) {
		fprintf(stderr, "paced: cannot do that\n");
		return 2;
	}
	request_length = (size_t)snprintf(request, sizeof(request),
					  "GET %.400s HTTP/1.1\r\nHost: localhost\r\n\r\n",
					  argv[2]);
	for (size_t i = 0; i < connection_count; i++) {
		connections[i].fd = connect_to((uint16_t)atoi(argv[1]));
		polled[i] = (struct pollfd){ .fd = connections[i].fd, .events = POLLIN };
	}
	prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
	start = now_ns();
	run(start, (double)NS_PER_S / rate, start + (uint64_t)((seconds + 10) * 1e9));
	end = now_ns();
	printf("JSON{\"requests\":%zu,\"seconds\":%.6f,\"p50_us\":%u,", answered,
	       (double)(end - start) / 1e9, share_of(latencies_us, answered, 0.5));
	printf("\"p99_us\":%u,", share_of(latencies_us, answered, 0.99));
	printf("\"late_p99_us\":%u,\"errors\":%zu}\n", share_of(late_us, sent, 0.99),
	       errors + (wanted - answered));
	return 0;
}
