/* SPDX-License-Identifier: MIT */
/*
 * A socket instead of a pipe is what this file is about. With SO_PASSCRED the receiving end of a local socket learns, for every piece
 * of data, the process that wrote it (the kernel fills it in at the time of the write), and pieces of different processes
 * are never handed over together. Valgrind writes a line per write(), so each line comes with its process.
 *
 * The descriptor must survive whatever the program does to descriptors it does not know (close_range, closefrom: daemons and
 * interpreters do), or programs it executes could not be followed. Valgrind lets no program touch descriptors at or above the soft
 * limit it started with; so ours lies just above the limit, which is lowered again once it is there.
 *
 * The reader naps between looks instead of sleeping in the kernel: a sleeping reader would be woken by every single line, and
 * waking costs more than the line.
 */
#define _GNU_SOURCE
#include <pagesim/trace_record.h>

#include "trace/lackey.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RECEIVE_BYTES (1u << 20)
#define NAP_NS        100000
#define SPARE_FDS     32

struct sender {
	pid_t pid;
	struct ps_lackey_stream *stream;
};

struct recording {
	struct ps_lackey *lackey;
	int socket;
	struct ps_grow senders; /* struct sender, ascending */
	char *bytes;
	pid_t child;
	int status;
};

/* The descriptor number for the log and the limit to leave behind it. */
static bool choose_fd(int *fd, struct rlimit *limit)
{
	if (getrlimit(RLIMIT_NOFILE, limit))
		return false;
	limit->rlim_cur = MIN(limit->rlim_cur, 4096);
	if (limit->rlim_max != RLIM_INFINITY && limit->rlim_cur + SPARE_FDS > limit->rlim_max) {
		if (limit->rlim_max < 4 * SPARE_FDS)
			return false;
		limit->rlim_cur = limit->rlim_max - SPARE_FDS;
	}
	*fd = (int)limit->rlim_cur + SPARE_FDS / 2;
	return true;
}

/* What the child does between fork and exec: only system calls. */
static void become_valgrind(char **argv, int log, int log_at, const struct rlimit *limit, int report)
{
	struct rlimit wide = *limit;
	sigset_t none;
	int error;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_DFL);
	signal(SIGQUIT, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	wide.rlim_cur = limit->rlim_cur + SPARE_FDS;
	if (!setrlimit(RLIMIT_NOFILE, &wide) && dup2(log, log_at) == log_at && !setrlimit(RLIMIT_NOFILE, limit))
		execvp(argv[0], argv);
	error = errno;
	while (write(report, &error, sizeof(error)) < 0 && errno == EINTR)
		;
	_exit(127);
}

static char **make_argv(const struct ps_record_settings *settings, int log_at)
{
	GPtrArray *argv = g_ptr_array_new();
	static const char *const options[] = {
		"--tool=lackey",     "--trace-mem=yes",      "--trace-syscalls=yes",
		"--trace-sched=yes", "--trace-children=yes", "--basic-counts=no",
		"--vgdb=no",
	};

	g_ptr_array_add(argv, g_strdup(settings->valgrind ? settings->valgrind : "valgrind"));
	for (size_t i = 0; i < G_N_ELEMENTS(options); i++)
		g_ptr_array_add(argv, g_strdup(options[i]));
	g_ptr_array_add(argv, g_strdup_printf("--log-fd=%d", log_at));
	g_ptr_array_add(argv, g_strdup("--"));
	for (char *const *a = settings->argv; *a; a++)
		g_ptr_array_add(argv, g_strdup(*a));
	g_ptr_array_add(argv, NULL);
	return (char **)g_ptr_array_free(argv, false);
}

static bool fail(GError **error, const char *what)
{
	g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: %s", what, g_strerror(errno));
	return false;
}

static bool no_memory(GError **error)
{
	g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "out of memory");
	return false;
}

static bool start(struct recording *rec, const struct ps_record_settings *settings, GError **error)
{
	int pair[2], report[2], on = 1, buffer = 8 << 20, log_at, why = 0;
	struct rlimit limit;
	char **argv;

	if (!choose_fd(&log_at, &limit))
		return fail(error, "cannot find a descriptor for valgrind's output");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return fail(error, "cannot make a socket");
	rec->socket = pair[0];
	setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	/* More room needs a privilege; what everybody may have will do. */
	if (setsockopt(pair[1], SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)))
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	if (pipe2(report, O_CLOEXEC)) {
		close(pair[1]);
		return fail(error, "cannot make a pipe");
	}
	argv = make_argv(settings, log_at);
	rec->child = fork();
	if (!rec->child)
		become_valgrind(argv, pair[1], log_at, &limit, report[1]);
	close(pair[1]);
	close(report[1]);
	if (rec->child < 0) {
		fail(error, "cannot start a process");
	} else if (read(report[0], &why, sizeof(why)) == sizeof(why)) {
		waitpid(rec->child, NULL, 0);
		rec->child = -1;
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "cannot run '%s': %s%s", argv[0], g_strerror(why),
			    why == ENOENT ? " (programs are recorded with valgrind: install the package valgrind)"
					  : "");
	}
	close(report[0]);
	g_strfreev(argv);
	return rec->child > 0;
}

/* Return: NULL without memory. */
static struct ps_lackey_stream *stream_of(struct recording *rec, pid_t pid)
{
	struct sender *senders = rec->senders.data, new = { .pid = pid };
	size_t i = 0;
	char name[32];

	while (i < rec->senders.n && senders[i].pid < pid)
		i++;
	if (i < rec->senders.n && senders[i].pid == pid)
		return senders[i].stream;
	g_snprintf(name, sizeof(name), "valgrind of process %d", (int)pid);
	new.stream = ps_lackey_stream_new(rec->lackey, name, (u32)pid);
	return new.stream &&ps_grow_insert(&rec->senders, i, &new, sizeof(new)) ? new.stream : NULL;
}

/* All of a file of /proc, and a zero. Return: freed by ps_free(), or NULL. */
static char *read_all(u32 pid, const char *what, size_t *ret_n)
{
	struct ps_grow text = { 0 };
	char path[64];
	ssize_t n = 1;
	int fd;

	g_snprintf(path, sizeof(path), "/proc/%u/%s", pid, what);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && n > 0 && ps_grow_reserve(&text, 4096, 1)) {
		n = read(fd, (char *)text.data + text.n, text.room - text.n - 1);
		text.n += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	if (fd < 0 || n) {
		ps_free(text.data);
		return NULL;
	}
	((char *)text.data)[text.n] = 0;
	*ret_n = text.n;
	return text.data;
}

/* Whether @arguments, @n bytes with a zero behind each, end in @command. Valgrind quotes in it, with backslashes. */
static bool arguments_end_in(const char *arguments, size_t n, const char *command)
{
	size_t left = strlen(command);

	/* The last one's zero is none of it. */
	n -= n > 0;
	for (;;) {
		char c;

		while (left && command[left - 1] == '\\')
			left--;
		while (n && arguments[n - 1] == '\\')
			n--;
		if (!left || !n)
			return !left;
		c = arguments[--n] ? arguments[n] : ' ';
		if (c != command[--left])
			return false;
	}
}

/*
 * What is mapped in process @pid now that @command begins. It may be further than its text that we read: so its own arguments must
 * still end in that command.
 */
static char *maps_of(void *arg, u32 pid, const char *command)
{
	size_t n;
	char *maps = read_all(pid, "maps", &n), *own = maps ? read_all(pid, "cmdline", &n) : NULL;

	if (!own || !arguments_end_in(own, n, command)) {
		ps_free(maps);
		maps = NULL;
	}
	ps_free(own);
	return maps;
}

/* Receives once. Return: bytes, 0 at the end, -EAGAIN when there is nothing just now, or another negative errno. */
static ssize_t receive(struct recording *rec, pid_t *pid)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr aligned;
	} control;
	struct iovec iov = { .iov_base = rec->bytes, .iov_len = RECEIVE_BYTES };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	ssize_t n = recvmsg(rec->socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*pid = 0;
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		struct ucred who;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
			continue;
		memcpy(&who, CMSG_DATA(c), sizeof(who));
		*pid = who.pid;
	}
	return n;
}

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

static bool pump(struct recording *rec, const struct ps_record_settings *settings, GError **error)
{
	u64 every = settings->progress_ms ? settings->progress_ms : 500, next = now_ms() + every;
	const struct timespec nap = { 0, NAP_NS };
	pid_t pid;

	for (;;) {
		ssize_t n = receive(rec, &pid);

		if (n == 0)
			return true;
		if (n == -EAGAIN) {
			nanosleep(&nap, NULL);
		} else if (n < 0 && n != -EINTR) {
			errno = (int)-n;
			return fail(error, "cannot read what valgrind says");
		} else if (n > 0) {
			struct ps_lackey_stream *stream = stream_of(rec, pid);

			if (!stream)
				return no_memory(error);
			if (!ps_lackey_feed(stream, rec->bytes, (size_t)n, error))
				return false;
		}
		if (settings->progress && now_ms() >= next) {
			settings->progress(settings->arg, ps_lackey_counts(rec->lackey));
			next = now_ms() + every;
		}
	}
}

bool ps_record(struct ps_lackey *lackey, const struct ps_record_settings *settings, int *ret_status, GError **error)
{
	struct recording rec = { .lackey = lackey, .socket = -1, .child = -1 };
	char directory[4096];
	bool ok;
	int status = 0;

	lackey_watch(lackey, getcwd(directory, sizeof(directory)) ? directory : "", maps_of, NULL);
	rec.bytes = ps_alloc(RECEIVE_BYTES);
	if (!rec.bytes)
		return no_memory(error);
	ok = start(&rec, settings, error) && pump(&rec, settings, error);
	if (rec.socket >= 0)
		close(rec.socket);
	if (rec.child > 0) {
		/* Nobody reads any more: the program would die of SIGPIPE in valgrind, if it noticed. */
		if (!ok)
			kill(rec.child, SIGKILL);
		while (waitpid(rec.child, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (ok) {
		const struct sender *senders = rec.senders.data;

		for (size_t i = 0; i < rec.senders.n && ok; i++)
			ok = ps_lackey_stream_end(senders[i].stream, error);
		*ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	}
	ps_grow_free(&rec.senders);
	ps_free(rec.bytes);
	return ok;
}
