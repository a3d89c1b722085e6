/* SPDX-License-Identifier: MIT */
/*
 * System calls as `--trace-syscalls=yes` prints them. A call is one line, or two when it blocks:
 *
 *    SYSCALL[812,1](9) sys_mmap ( 0x0, 8192, 3, 34, 4294967295, 0 ) --> [pre-success] Success(0x4835000)
 *    SYSCALL[812,1](3) sys_close ( 4 )[sync] --> Success(0x0)
 *    SYSCALL[812,1](257) sys_openat ( 4294967196, 0x4034bb0(/etc/passwd), 524288 ) --> [async] ...
 *    SYSCALL[812,1](257) ... [async] --> Success(0x4)
 *    SYSCALL[812,1](56) sys_clone ( 1200011, ... )   clone(fork): process 812 created child 813
 *     --> [pre-success] Success(0x32d)
 *
 * Its arguments wait in the thread until the result is known; a call that failed changes nothing. All are counted by name,
 * those in the table below mean something to memory or files, and whatever cannot be read (valgrind writes for people) is only
 * counted. Names are matched rather than numbers: the numbers differ between architectures.
 *
 * To add a call: one line in the table, one function that is told the arguments and the result.
 */
#include "trace/lackey.h"

#include <stdlib.h>
#include <string.h>

#define CLONE_VM_FLAG 0x100

struct done {
	struct ps_lackey_stream *stream;
	struct process *p;
	u32 thread;
	const struct call *call;
	u64 result;
};

struct call_kind {
	const char *name;
	void (*done)(const struct done *d);
	bool hex; /* its numbers are hexadecimal without saying so */
};

static u64 page_of(u64 address)
{
	return address >> PS_TRACE_PAGE_SHIFT;
}

/* Pages of [address, address + bytes), at most those there are. */
static u64 page_count(u64 address, u64 bytes)
{
	u64 last;

	if (!bytes)
		return 0;
	if (__builtin_add_overflow(address, bytes - 1, &last))
		last = ~0ull;
	return page_of(last) - page_of(address) + 1;
}

static s64 fd_of(const struct done *d, int i)
{
	return (s32)d->call->argument[i];
}

static void emit(const struct done *d, const struct ps_event *e)
{
	ps_trace_writer_event(d->p->lackey->writer, e);
}

/* ---- memory ---- */

static struct ps_event range_event(const struct done *d, enum ps_event_kind kind)
{
	struct ps_event e = process_event(d->p, d->thread, kind);

	e.vpn = page_of(d->call->argument[0]);
	e.pages = page_count(d->call->argument[0], d->call->argument[1]);
	return e;
}

static u32 map_flags(u64 flags)
{
	return ((flags & 3) == 1 || (flags & 3) == 3 ? PS_MAP_SHARED : 0) | (flags & 0x100 ? PS_MAP_STACK : 0) |
	       (flags & 0x2000 ? PS_MAP_LOCKED : 0) | (flags & 0x4000 ? PS_MAP_NORESERVE : 0) |
	       (flags & 0x8000 ? PS_MAP_POPULATE : 0) | (flags & 0x40000 ? PS_MAP_HUGETLB : 0);
}

static void done_mmap(const struct done *d)
{
	struct ps_event e = process_event(d->p, d->thread, PS_EVENT_MMAP);
	u64 flags = d->call->argument[3];
	char name[32];

	e.vpn = page_of(d->result);
	e.pages = page_count(d->result, d->call->argument[1]);
	if (!e.pages)
		return;
	e.prot = (u32)d->call->argument[2] & 7;
	e.flags = map_flags(flags);
	if (!(flags & 0x20)) {
		struct open_file *f = process_file(d->p, fd_of(d, 4));

		g_snprintf(name, sizeof(name), "fd:%d", (int)fd_of(d, 4));
		e.name = f && *f->path ? f->path : name;
		e.offset = d->call->argument[5];
	}
	emit(d, &e);
	process_know(d->p, e.vpn, e.vpn + e.pages);
}

static void done_munmap(const struct done *d)
{
	struct ps_event e = range_event(d, PS_EVENT_MUNMAP);

	if (!e.pages)
		return;
	emit(d, &e);
	process_forget(d->p, e.vpn, e.vpn + e.pages);
}

static void done_mremap(const struct done *d)
{
	struct ps_event e = range_event(d, PS_EVENT_MREMAP);

	e.to_vpn = page_of(d->result);
	e.to_pages = page_count(d->result, d->call->argument[2]);
	if (!e.pages || !e.to_pages)
		return;
	process_infer_range(d->p, e.vpn, e.vpn + e.pages);
	emit(d, &e);
	process_forget(d->p, e.vpn, e.vpn + e.pages);
	process_know(d->p, e.to_vpn, e.to_vpn + e.to_pages);
}

static void done_mprotect(const struct done *d)
{
	struct ps_event e = range_event(d, PS_EVENT_MPROTECT);

	if (!e.pages)
		return;
	process_infer_range(d->p, e.vpn, e.vpn + e.pages);
	e.prot = (u32)d->call->argument[2] & 7;
	emit(d, &e);
}

static void done_madvise(const struct done *d)
{
	struct ps_event e = range_event(d, PS_EVENT_MADVISE);

	if (!e.pages)
		return;
	process_infer_range(d->p, e.vpn, e.vpn + e.pages);
	e.advice = (int)(s32)d->call->argument[2];
	emit(d, &e);
}

static void done_brk(const struct done *d)
{
	struct process *p = d->p;
	u64 end = page_of(d->result + PS_TRACE_PAGE_SIZE - 1);
	struct ps_event e = process_event(p, d->thread, PS_EVENT_BRK);

	if (!p->heap_start) {
		p->heap_start = p->heap_end = end;
		return;
	}
	if (end < p->heap_start || end == p->heap_end)
		return;
	e.vpn = p->heap_start;
	e.pages = end - p->heap_start;
	emit(d, &e);
	process_forget(p, end, p->heap_end);
	process_know(p, p->heap_start, end);
	p->heap_end = end;
}

/*
 * System V shared memory. An attachment says neither its size, which shmget() had, nor does a detachment; so both are kept.
 * The name makes one file of all attachments of a segment.
 */
static struct segment *find_segment(const struct ps_grow *segments, u64 id)
{
	struct segment *s = segments->data;

	for (size_t i = segments->n; i--;)
		if (s[i].id == id)
			return &s[i];
	return NULL;
}

static void add_segment(const struct done *d, struct ps_grow *segments, u64 id, u64 pages)
{
	struct segment *old = find_segment(segments, id), new = { id, pages };

	if (old)
		*old = new;
	else if (!ps_grow_add(segments, &new, sizeof(new)))
		d->p->lackey->no_memory = true;
}

/* shmget ( key, size, flags ); who only looks for a segment may say less than its size, or nothing. */
static void done_shmget(const struct done *d)
{
	struct ps_grow *segments = &d->p->lackey->segments;
	const struct segment *old = find_segment(segments, d->result);
	u64 pages = page_count(0, d->call->argument[1]);

	if (pages && (!old || old->pages < pages))
		add_segment(d, segments, d->result, pages);
}

/* shmat ( id, address, flags ) */
static void done_shmat(const struct done *d)
{
	const struct segment *segment = find_segment(&d->p->lackey->segments, d->call->argument[0]);
	struct ps_event e = process_event(d->p, d->thread, PS_EVENT_MMAP);
	u64 flags = d->call->argument[2];
	char name[32];

	/* Of a segment somebody else made nobody said how large it is. */
	if (!segment)
		return;
	g_snprintf(name, sizeof(name), "shm:%u", (u32)d->call->argument[0]);
	e.vpn = page_of(d->result);
	e.pages = segment->pages;
	e.prot = PS_PROT_READ | (flags & 010000 ? 0 : PS_PROT_WRITE) | (flags & 0100000 ? PS_PROT_EXEC : 0);
	e.flags = PS_MAP_SHARED;
	e.name = name;
	emit(d, &e);
	process_know(d->p, e.vpn, e.vpn + e.pages);
	add_segment(d, &d->p->attached, e.vpn, e.pages);
}

static void done_shmdt(const struct done *d)
{
	struct segment *attached = find_segment(&d->p->attached, page_of(d->call->argument[0]));
	struct ps_event e = process_event(d->p, d->thread, PS_EVENT_MUNMAP);

	if (!attached)
		return;
	e.vpn = attached->id;
	e.pages = attached->pages;
	emit(d, &e);
	process_forget(d->p, e.vpn, e.vpn + e.pages);
	ps_grow_remove(&d->p->attached, (size_t)(attached - (struct segment *)d->p->attached.data), sizeof(*attached));
}

/* ---- files ---- */

/*
 * The path among the arguments, relative to the directory behind descriptor @fd, or, when that is none, to the
 * current one, as far as they are known.
 * Return: to be freed, or NULL without memory.
 */
static char *path_at(const struct done *d, s64 fd)
{
	const char *text = d->call->text ? d->call->text : "", *below = NULL;
	struct open_file *directory = process_file(d->p, fd);
	size_t n;
	char *path;

	if (*text && *text != '/')
		below = fd < 0 ? d->p->directory : directory ? directory->path : NULL;
	if (!below || !*below)
		return lackey_text(d->p->lackey, text, strlen(text));
	while (!strncmp(text, "./", 2))
		text += 2 + strspn(text + 2, "/");
	n = strlen(below) + strlen(text) + 2;
	path = ps_alloc(n);
	if (!path)
		d->p->lackey->no_memory = true;
	else
		g_snprintf(path, n, "%s%s%s", below, g_str_has_suffix(below, "/") ? "" : "/", text);
	return path;
}

/* A relative directory below one that is not known is not known either. */
static void enter_directory(const struct done *d, char *path)
{
	if (path && *path != '/') {
		ps_free(path);
		path = NULL;
	}
	ps_free(d->p->directory);
	d->p->directory = path;
}

static void done_chdir(const struct done *d)
{
	enter_directory(d, path_at(d, -1));
}

static void done_fchdir(const struct done *d)
{
	struct open_file *f = process_file(d->p, fd_of(d, 0));

	enter_directory(d, f ? lackey_text(d->p->lackey, f->path, strlen(f->path)) : NULL);
}

/* Takes over @path. */
static void opened(const struct done *d, char *path, u64 flags)
{
	struct ps_event e = process_event(d->p, d->thread, PS_EVENT_OPEN);

	if (!path)
		return;
	process_open(d->p, (s64)d->result, path, flags & 02000000);
	e.name = path;
	emit(d, &e);
	if (flags & 01000) {
		e.kind = PS_EVENT_TRUNCATE;
		emit(d, &e);
	}
	ps_free(path);
}

static void done_open(const struct done *d)
{
	opened(d, path_at(d, -1), d->call->argument[1]);
}

static void done_openat(const struct done *d)
{
	opened(d, path_at(d, fd_of(d, 0)), d->call->argument[2]);
}

static void done_creat(const struct done *d)
{
	opened(d, path_at(d, -1), 01000);
}

static void done_memfd(const struct done *d)
{
	const char *name = d->call->text ? d->call->text : "";
	size_t n = strlen(name) + sizeof("memfd:");
	char *path = ps_alloc(n);

	if (path)
		g_snprintf(path, n, "memfd:%s", name);
	else
		d->p->lackey->no_memory = true;
	opened(d, path, d->call->argument[1] & 1 ? 02000000 : 0);
}

static void done_close(const struct done *d)
{
	process_close(d->p, fd_of(d, 0));
}

static void done_dup(const struct done *d)
{
	process_dup(d->p, fd_of(d, 0), (s64)d->result, false);
}

static void done_dup3(const struct done *d)
{
	process_dup(d->p, fd_of(d, 0), (s64)d->result, d->call->argument[2] & 02000000);
}

static void done_fcntl(const struct done *d)
{
	u64 command = d->call->argument[1];

	if (command == 0 || command == 1030) { /* F_DUPFD, F_DUPFD_CLOEXEC */
		process_dup(d->p, fd_of(d, 0), (s64)d->result, command == 1030);
	} else if (command == 2) { /* F_SETFD */
		process_set_close_on_exec(d->p, fd_of(d, 0), d->call->argument[2] & 1);
	}
}

/*
 * Data went between a file and a buffer; the kernel touched the buffer, which no access of the text says. @buffer is an
 * argument's index, or -1 when the buffers are somewhere behind an iovec.
 */
static void transferred(const struct done *d, enum ps_event_kind kind, s64 fd, int buffer, bool at_position, u64 offset)
{
	struct open_file *f = process_file(d->p, fd);
	struct ps_event e;

	if (!d->result)
		return;
	if (buffer >= 0) {
		u64 address = d->call->argument[buffer];
		u64 pages = page_count(address, d->result);

		process_infer_range(d->p, page_of(address), page_of(address) + pages);
		e = process_event(d->p, d->thread, kind);
		e.vpn = page_of(address);
		e.pages = pages;
	} else {
		e = process_event(d->p, d->thread, kind);
	}
	e.length = d->result;
	if (f) {
		e.name = f->path;
		e.offset = at_position ? f->position : offset;
		if (at_position)
			f->position += d->result;
	}
	emit(d, &e);
}

static void done_read(const struct done *d)
{
	transferred(d, PS_EVENT_READ, fd_of(d, 0), 1, true, 0);
}

static void done_write(const struct done *d)
{
	transferred(d, PS_EVENT_WRITE, fd_of(d, 0), 1, true, 0);
}

static void done_pread(const struct done *d)
{
	transferred(d, PS_EVENT_READ, fd_of(d, 0), 1, false, d->call->argument[3]);
}

static void done_pwrite(const struct done *d)
{
	transferred(d, PS_EVENT_WRITE, fd_of(d, 0), 1, false, d->call->argument[3]);
}

static void done_readv(const struct done *d)
{
	transferred(d, PS_EVENT_READ, fd_of(d, 0), -1, true, 0);
}

static void done_writev(const struct done *d)
{
	transferred(d, PS_EVENT_WRITE, fd_of(d, 0), -1, true, 0);
}

static void done_preadv(const struct done *d)
{
	transferred(d, PS_EVENT_READ, fd_of(d, 0), -1, false, d->call->argument[3]);
}

static void done_pwritev(const struct done *d)
{
	transferred(d, PS_EVENT_WRITE, fd_of(d, 0), -1, false, d->call->argument[3]);
}

/* These go on at the descriptor's position when the offset is -1, its low half valgrind writes first. */
static void done_preadv2(const struct done *d)
{
	transferred(d, PS_EVENT_READ, fd_of(d, 0), -1, d->call->argument[3] == ~0ull, d->call->argument[3]);
}

static void done_pwritev2(const struct done *d)
{
	transferred(d, PS_EVENT_WRITE, fd_of(d, 0), -1, d->call->argument[3] == ~0ull, d->call->argument[3]);
}

/* Out of one file into another. Explicit offsets are behind pointers, so a call that has them is not followed. */
static void done_sendfile(const struct done *d)
{
	transferred(d, PS_EVENT_READ, fd_of(d, 1), -1, !d->call->argument[2], 0);
	transferred(d, PS_EVENT_WRITE, fd_of(d, 0), -1, true, 0);
}

static void done_copy_file_range(const struct done *d)
{
	transferred(d, PS_EVENT_READ, fd_of(d, 0), -1, !d->call->argument[1], 0);
	transferred(d, PS_EVENT_WRITE, fd_of(d, 2), -1, !d->call->argument[3], 0);
}

static void done_lseek(const struct done *d)
{
	struct open_file *f = process_file(d->p, fd_of(d, 0));

	if (f)
		f->position = d->result;
}

static void truncated(const struct done *d, const char *path, u64 length)
{
	struct ps_event e = process_event(d->p, d->thread, PS_EVENT_TRUNCATE);

	e.name = path;
	e.length = length;
	emit(d, &e);
}

static void done_truncate(const struct done *d)
{
	char *path = path_at(d, -1);

	if (path)
		truncated(d, path, d->call->argument[1]);
	ps_free(path);
}

static void done_ftruncate(const struct done *d)
{
	struct open_file *f = process_file(d->p, fd_of(d, 0));

	if (f && *f->path)
		truncated(d, f->path, d->call->argument[1]);
}

static void done_fsync(const struct done *d)
{
	struct open_file *f = process_file(d->p, fd_of(d, 0));
	struct ps_event e = process_event(d->p, d->thread, PS_EVENT_FSYNC);

	if (!f || !*f->path)
		return;
	e.name = f->path;
	emit(d, &e);
}

/* ---- tasks ---- */

static void done_exit(const struct done *d)
{
	process_thread_exit(d->p, d->thread);
}

static void done_exit_group(const struct done *d)
{
	d->p->running = d->thread;
	process_exit(d->p);
}

static void done_wait4(const struct done *d)
{
	if (d->result)
		lackey_reaped(d->stream, (u32)d->result);
}

static const struct call_kind kinds[] = {
	{ "brk", done_brk },
	{ "chdir", done_chdir },
	{ "clone", NULL, true },
	{ "close", done_close },
	{ "copy_file_range", done_copy_file_range },
	{ "creat", done_creat },
	{ "dup", done_dup },
	{ "dup2", done_dup },
	{ "dup3", done_dup3 },
	{ "exit", done_exit },
	{ "exit_group", done_exit_group },
	{ "fchdir", done_fchdir },
	{ "fcntl", done_fcntl },
	{ "fdatasync", done_fsync },
	{ "fsync", done_fsync },
	{ "ftruncate", done_ftruncate },
	{ "lseek", done_lseek },
	{ "madvise", done_madvise },
	{ "memfd_create", done_memfd },
	{ "mmap", done_mmap },
	{ "mprotect", done_mprotect },
	{ "mremap", done_mremap },
	{ "munmap", done_munmap },
	{ "open", done_open },
	{ "openat", done_openat },
	{ "pread64", done_pread },
	{ "preadv", done_preadv },
	{ "preadv2", done_preadv2 },
	{ "pwrite64", done_pwrite },
	{ "pwritev", done_pwritev },
	{ "pwritev2", done_pwritev2 },
	{ "read", done_read },
	{ "readv", done_readv },
	{ "sendfile", done_sendfile },
	{ "shmat", done_shmat },
	{ "shmdt", done_shmdt },
	{ "shmget", done_shmget },
	{ "truncate", done_truncate },
	{ "wait4", done_wait4 },
	{ "write", done_write },
	{ "writev", done_writev },
};

/* ---- the lines ---- */

/*
 * Reads "( 0x1, 2, 0x3(text), 4 )" up to @end, the closing parenthesis. The text may hold anything, so it ends at the last
 * parenthesis that has only numbers behind it. Anything unexpected ends the reading; what is not read is 0.
 */
static void parse_arguments(struct ps_lackey *lackey, struct call *call, const char *at, const char *end, bool hex)
{
	for (int i = 0; i < CALL_ARGUMENTS && at < end;) {
		char *stop;

		at += strspn(at, " (,");
		if (at >= end)
			return;
		call->argument[i++] =
			!strncmp(at, "0x", 2) || hex ? strtoull(at, &stop, 16) : (u64)strtoll(at, &stop, 10);
		if (stop == at)
			return;
		at = stop;
		if (*at == '(' && at < end) {
			const char *close = end;

			while (close > at && strchr(" ,0123456789abcdefx", *--close))
				;
			if (close <= at || *close != ')')
				return;
			ps_free(call->text);
			call->text = lackey_text(lackey, at + 1, (size_t)(close - at - 1));
			at = close + 1;
		}
	}
}

static const struct call_kind *find_kind(const char *name, size_t n)
{
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
		if (strlen(kinds[i].name) == n && !strncmp(kinds[i].name, name, n))
			return &kinds[i];
	return NULL;
}

static bool is_result(const char *text, bool *ret_success, u64 *ret_value)
{
	const char *s = strstr(text, "Success(0x");
	const char *f = strstr(text, "Failure(0x");

	if (!s && !f)
		return false;
	*ret_success = s && (!f || s < f);
	*ret_value = strtoull((*ret_success ? s : f) + strlen("Success(0x"), NULL, 16);
	return true;
}

static void finish_call(struct ps_lackey_stream *stream, struct process *p, u32 thread, struct call *call, u64 result)
{
	struct done d = { .stream = stream, .p = p, .thread = thread, .call = call, .result = result };

	if (call->kind && call->kind->done)
		call->kind->done(&d);
}

void lackey_result(struct ps_lackey_stream *stream, struct process *p, u32 thread, const char *text)
{
	struct thread *t = process_thread(p, thread);
	struct call call = t->call;
	bool success;
	u64 value;

	if (!t->pending || !is_result(text, &success, &value))
		return;
	/* The thread may be gone when the call is done. */
	t->pending = false;
	t->call.text = NULL;
	if (success)
		finish_call(stream, p, thread, &call, value);
	ps_free(call.text);
}

bool lackey_find_child(const char *text, u32 *parent, u32 *child)
{
	const char *process = strstr(text, ": process ");
	u64 p, c;
	char *end;

	if (!process)
		return false;
	p = strtoull(process + strlen(": process "), &end, 10);
	if (strncmp(end, " created child ", 15))
		return false;
	c = strtoull(end + 15, NULL, 10);
	*parent = (u32)p;
	*child = (u32)c;
	return p && p < 1u << 31 && c && c < 1u << 31;
}

void lackey_syscall(struct ps_lackey_stream *stream, struct process *p, u32 thread, const char *line)
{
	struct thread *t = process_thread(p, thread);
	const char *name = line + strspn(line, " ");
	const char *open, *arrow, *close;
	char plain[64];
	size_t n;
	u32 parent, child;

	if (!strncmp(name, "...", 3)) {
		lackey_result(stream, p, thread, name);
		return;
	}
	if (!strncmp(name, "sys_", 4))
		name += 4;
	n = strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789");
	if (!strncmp(name, "unimplemented", n)) {
		const char *number = strstr(name, "syscall: ");

		g_snprintf(plain, sizeof(plain), "number-%u",
			   number ? (u32)strtoul(number + strlen("syscall: "), NULL, 10) : 0);
	} else {
		g_snprintf(plain, sizeof(plain), "%.*s", (int)MIN(n, sizeof(plain) - 1), name);
	}
	lackey_count_syscall(stream->lackey, *plain ? plain : "unnamed");

	ps_free(t->call.text);
	memset(&t->call, 0, sizeof(t->call));
	t->call.kind = find_kind(name, n);
	t->pending = true;
	stream->awaited = p;
	stream->awaited_thread = thread;

	open = strchr(name + n, '(');
	arrow = g_strrstr(name, "-->");
	close = arrow ? g_strrstr_len(name, arrow - name, ")") : strrchr(name, ')');
	if (lackey_find_child(name, &parent, &child)) {
		const char *text = strstr(name, ")   ");

		close = text ? text : close;
		if (open && close)
			parse_arguments(stream->lackey, &t->call, open, close, true);
		/* The result tells the parent nothing new, and there may be none in this text. */
		t->call.kind = NULL;
		lackey_forked(stream, p, thread, child);
		return;
	}
	if (open && close)
		parse_arguments(stream->lackey, &t->call, open, close, t->call.kind && t->call.kind->hex);
	/* From here on lines may be torn, the one that names the child first. */
	if (!stream->pid && (!strcmp(plain, "fork") || !strcmp(plain, "vfork") ||
			     (!strcmp(plain, "clone") && !(t->call.argument[0] & CLONE_VM_FLAG))))
		stream->forked = true;
	if (arrow)
		lackey_result(stream, p, thread, arrow);
}
