/* SPDX-License-Identifier: MIT */
/*
 * The first and only program of the guest. It brings the kernel into the state every script begins with, plays the scripts of
 * its plan one after the other, each in a process of its own, sends the transcripts out through the second serial port, and
 * switches the machine off.
 *
 * **A node of its own.** The guest has one node more than the scripts know. Text, data and stacks of everything here lie on
 * it: init copies itself into a tmpfs bound to that node, starts again from there, and gives each of its mappings a policy,
 * which forked tasks inherit. So what concerns a whole process (migrate_pages, smaps, a node's free memory) concerns the
 * script's memory alone, and comes out the same each time.
 *
 * **Nothing hangs.** init waits for each script for so long and then kills everything that runs; what the script has said
 * lies in shared memory and is sent all the same. If not even that helps, it says so and switches off: whoever started
 * the guest boots it again for the scripts that are left.
 *
 * The plan is /guest/plan, a word and its value a line:
 *
 *	own N         number of our own node; the nodes before it are the scripts'
 *	cpus N        CPUs there are
 *	timeout S     seconds a script may take
 *	module FILE   load /guest/FILE, in this order
 *	script NAME   the k-th such line: play /guest/script.K, and call it NAME in messages; K counts from 0
 *
 * Transcripts go out through a virtio port; where the kernel has none, and before it is there, through the second serial
 * port, which takes an interrupt for every sixteen letters.
 *
 * What goes out is text. Lines of the guest itself begin with byte 1, so that no transcript can be taken for one:
 *
 *	kernel TEXT   what runs (/proc/version)
 *	note TEXT     worth knowing: a setting this kernel does not have
 *	begin K       the transcript of script K follows
 *	end K MS      it was complete, and took so many milliseconds
 *	lost K TEXT   it was not: why
 *	fatal TEXT    nothing can be played, or nothing more
 *	done          all was played
 *
 * Run anywhere but as a guest's first program it only reads scripts: `init --parse FILE...` prints each statement as the
 * transcript would begin it, and the first error.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <pagesim/trace_text.h>

#include "frames.h"
#include "play.h"
#include "say.h"
#include "settings.h"
#include "small_files.h"
#include "work.h"

#define THP          "/sys/kernel/mm/transparent_hugepage/"
#define SWAP_DEVICE  "/dev/zram0"
#define SWAP_BYTES   (256u << 20)
#define HEAP_BYTES   (16u << 20)
#define MPOL_BIND    2
#define MPOL_MF_MOVE 2
/* How long what was killed may take to end. */
#define KILL_MS     20000
#define MAX_SCRIPTS 4096
#define NO_NODE     ~0u

static struct {
	unsigned int own, cpus, timeout_s;
	char *modules[64];
	unsigned int nr_modules;
	char *scripts[MAX_SCRIPTS];
	unsigned int nr_scripts;
} plan = { .own = NO_NODE, .cpus = 1, .timeout_s = 60 };

static int port = STDERR_FILENO;
static struct transcript *transcript;
static bool noted; /* settings that are refused are the same each time: told once */

/* ---- sending ---- */

static void send_bytes(const char *bytes, size_t n)
{
	while (n) {
		ssize_t sent = write(port, bytes, n);

		if (sent <= 0)
			return;
		bytes += sent;
		n -= (size_t)sent;
	}
}

/* A line of the guest itself; it has gone out when this returns. */
static void __attribute__((format(printf, 1, 2))) tell(const char *format, ...)
{
	char line[1024] = "\1";
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line + 1, sizeof(line) - 2, format, args);
	va_end(args);
	n = n < 0 ? 0 : (int)ps_min((size_t)n, sizeof(line) - 3);
	line[1 + n] = '\n';
	send_bytes(line, (size_t)n + 2);
	tcdrain(port);
}

static void open_serial_port(void)
{
	int fd = open("/dev/ttyS1", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	struct termios raw;

	if (fd < 0)
		return;
	if (!tcgetattr(fd, &raw)) {
		cfmakeraw(&raw);
		raw.c_cflag |= CLOCAL;
		cfsetspeed(&raw, B115200);
		tcsetattr(fd, TCSANOW, &raw);
	}
	port = fd;
}

/* It appears some time after its driver. */
static void open_virtio_port(void)
{
	int fd = -1;

	for (int tries = 0; fd < 0 && tries < 100 && !access("/sys/class/virtio-ports", F_OK); tries++) {
		fd = open("/dev/vport0p1", O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			sleep_ms(20);
	}
	if (fd >= 0)
		port = fd;
}

static void __attribute__((noreturn)) switch_off(void)
{
	tcdrain(port);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void __attribute__((noreturn, format(printf, 1, 2))) fatal(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	tell("fatal %s", text);
	switch_off();
}

/* ---- the plan ---- */

static void read_plan(void)
{
	size_t size;
	char *text = small_file_load("/guest/plan", &size), *rest = text, *line;

	if (!text)
		fatal("/guest/plan cannot be read: %s", strerror(errno));
	/* The text stays: names point into it. */
	while ((line = strsep(&rest, "\n"))) {
		char *value = strchr(line, ' ');

		if (!value)
			continue;
		*value++ = '\0';
		if (!strcmp(line, "own"))
			plan.own = (unsigned int)strtoul(value, NULL, 10);
		else if (!strcmp(line, "cpus"))
			plan.cpus = (unsigned int)strtoul(value, NULL, 10);
		else if (!strcmp(line, "timeout"))
			plan.timeout_s = (unsigned int)strtoul(value, NULL, 10);
		else if (!strcmp(line, "module") && plan.nr_modules < ARRAY_SIZE(plan.modules))
			plan.modules[plan.nr_modules++] = value;
		else if (!strcmp(line, "script") && plan.nr_scripts < MAX_SCRIPTS)
			plan.scripts[plan.nr_scripts++] = value;
		else
			fatal("/guest/plan: cannot use '%s %s'", line, value);
	}
	if (plan.own == NO_NODE)
		fatal("/guest/plan: does not say which node is our own");
}

/* ---- our own node ---- */

static long bind_to_own_node(void *addr, size_t bytes)
{
	unsigned long nodes[NODE_WORDS] = { 0 };

	nodes[plan.own / 64] = 1UL << plan.own % 64;
	if (!addr)
		return syscall(SYS_set_mempolicy, MPOL_BIND, nodes, NODE_WORDS * 64UL);
	return syscall(SYS_mbind, addr, bytes, MPOL_BIND, nodes, NODE_WORDS * 64UL, MPOL_MF_MOVE);
}

static void bind_all_mappings(void)
{
	static char text[1 << 16];
	char *rest = text, *line;

	small_file_read("/proc/self/maps", text, sizeof(text));
	while ((line = strsep(&rest, "\n"))) {
		u64 from, to;

		/* [vdso] and [vvar] are the kernel's. */
		if (sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) != 2 || strstr(line, "[v"))
			continue;
		if (bind_to_own_node((void *)(uintptr_t)from, to - from))
			fatal("%s: cannot be bound to node %u: %s", line, plan.own, strerror(errno));
	}
}

static void copy_file(const char *from, const char *to)
{
	size_t size, done = 0;
	char *bytes = small_file_load(from, &size);
	int fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	ssize_t n = 0;

	while (bytes && fd >= 0 && done < size && (n = write(fd, bytes + done, size - done)) > 0)
		done += (size_t)n;
	if (!bytes || fd < 0 || n < 0)
		fatal("%s cannot be copied to %s: %s", from, to, strerror(errno));
	close(fd);
	small_file_unload(bytes, size);
}

static void mount_or_die(const char *source, const char *target, const char *type, const char *options)
{
	mkdir(target, 0755);
	if (mount(source, target, type, 0, options))
		fatal("%s cannot be mounted on %s: %s", type, target, strerror(errno));
}

/* First life: the file systems, and then again from memory of our own node. */
static void __attribute__((noreturn)) move_to_own_node(void)
{
	char options[32];

	mount_or_die("proc", "/proc", "proc", NULL);
	mount_or_die("sys", "/sys", "sysfs", NULL);
	mount_or_die("dev", "/dev", "devtmpfs", NULL);
	open_serial_port();
	mount_or_die("debug", "/sys/kernel/debug", "debugfs", NULL);
	read_plan();
	small_file_write("/proc/sys/kernel/randomize_va_space", "0");
	small_file_write("/proc/self/oom_score_adj", "-1000");
	small_file_write(THP "enabled", "madvise");
	if (bind_to_own_node(NULL, 0))
		fatal("there is no node %u: %s", plan.own, strerror(errno));
	snprintf(options, sizeof(options), "mpol=bind:%u", plan.own);
	mount_or_die("own", "/own", "tmpfs", options);
	copy_file("/init", "/own/init");
	execl("/own/init", "init", "--own-node", (char *)NULL);
	fatal("/own/init cannot be run: %s", strerror(errno));
}

/* ---- what every script finds ---- */

static void load_modules(void)
{
	for (unsigned int i = 0; i < plan.nr_modules; i++) {
		char path[256];
		int fd;

		snprintf(path, sizeof(path), "/guest/%s", plan.modules[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
			tell("note module %s: %s", plan.modules[i], strerror(errno));
		if (fd >= 0)
			close(fd);
	}
}

/* A swap area is made by writing its header: version 1, the last page, and the magic at the end of the first page. */
static void make_swap(void)
{
	static char page[PAGE_SIZE];
	u32 version = 1, last = SWAP_BYTES / PAGE_SIZE - 1;
	char bytes[16];
	int fd;

	snprintf(bytes, sizeof(bytes), "%u", SWAP_BYTES);
	small_file_write("/sys/block/zram0/disksize", bytes);
	memcpy(page + 1024, &version, sizeof(version));
	memcpy(page + 1028, &last, sizeof(last));
	memcpy(page + PAGE_SIZE - 10, "SWAPSPACE2", 10);
	fd = open(SWAP_DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0 || write(fd, page, sizeof(page)) != (ssize_t)sizeof(page) || fsync(fd))
		fatal("%s cannot be made: %s (the kernel needs zram)", SWAP_DEVICE, strerror(errno));
	close(fd);
	if (swapon(SWAP_DEVICE, 0))
		fatal("%s cannot be used: %s", SWAP_DEVICE, strerror(errno));
}

static void make_files(void)
{
	mount_or_die("t", "/t", "tmpfs", "huge=advise,size=100%,mode=777");
	mkdir("/d", 0755);
	for (int tries = 0; access("/dev/vda", F_OK) && tries < 100; tries++)
		sleep_ms(20);
	if (mount("/dev/vda", "/d", "ext4", 0, NULL))
		fatal("ext4 on /dev/vda cannot be mounted: %s (the kernel needs virtio_pci, virtio_blk and ext4)",
		      strerror(errno));
	chmod("/d", 0777);
}

/*
 * khugepaged is woken when the first address space gives it something to do. With one that always does, and a day between two
 * of its rounds, it sleeps.
 */
static void keep_khugepaged_asleep(void)
{
	const size_t bytes = 4u << 20;
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || bind_to_own_node(p, bytes))
		fatal("no memory on node %u: %s", plan.own, strerror(errno));
	*(volatile char *)p = 1;
	small_file_write(THP "khugepaged/alloc_sleep_millisecs", "86400000");
	small_file_write(THP "khugepaged/scan_sleep_millisecs", "86400000");
	if (madvise(p, bytes, MADV_DONTFORK) || madvise(p, bytes, MADV_HUGEPAGE))
		tell("note khugepaged cannot be kept asleep: %s", strerror(errno));
	sleep_ms(100);
}

static void *shared_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fatal("no memory: %s", strerror(errno));
	return p;
}

/* Second life: everything that is there before the first script. */
static void set_up(void)
{
	char why[256];
	void *heap;

	load_modules();
	open_virtio_port();
	/* One heap, large enough for good: what it grew by later would be without the policy. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TRIM_THRESHOLD, INT32_MAX);
	mallopt(M_MMAP_THRESHOLD, INT32_MAX);
	heap = malloc(HEAP_BYTES);
	free(heap);
	office = shared_memory(sizeof(*office));
	transcript = shared_memory(sizeof(*transcript));
	bind_all_mappings();
	keep_khugepaged_asleep();
	make_swap();
	make_files();
	if (frames_init(why, sizeof(why)))
		fatal("%s", why);
}

/* ---- playing ---- */

static void note_setting(const char *path, int error)
{
	if (!noted)
		tell("note %s: %s", path, strerror(-error));
}

static void empty_folder(const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;

	while (folder && (entry = readdir(folder)))
		if (entry->d_type == DT_REG)
			unlinkat(dirfd(folder), entry->d_name, 0);
	if (folder)
		closedir(folder);
}

/* A script that ran out of memory has driven out ours as well: it comes back now, and not while the next one counts. */
static void empty_swap(void)
{
	char text[1024], *line;
	unsigned long used = 0;

	small_file_read("/proc/swaps", text, sizeof(text));
	line = strstr(text, SWAP_DEVICE);
	/* FILE TYPE SIZE USED PRIORITY */
	if (line && sscanf(line, "%*s %*s %*u %lu", &used) == 1 && used)
		swapoff(SWAP_DEVICE);
	swapon(SWAP_DEVICE, 0); /* it may be on: then this fails, and that is fine */
}

/* Whatever a script has left behind. */
static void tidy_up(void)
{
	empty_folder("/t");
	empty_folder("/d");
	empty_swap();
	sync();
	small_file_write("/proc/sys/vm/drop_caches", "3");
	settings_reset(note_setting);
	noted = true;
}

static void __attribute__((noreturn)) play_here(unsigned int number)
{
	const struct play_settings settings = { .nr_nodes = plan.own, .nr_cpus = plan.cpus };
	char path[64], *text;
	size_t size;

	signal(SIGCHLD, SIG_IGN);
	snprintf(path, sizeof(path), "/guest/script.%u", number);
	text = small_file_load(path, &size);
	if (!text)
		_exit(1);
	play(ps_script_parse(text, size, plan.scripts[number]), &settings);
	_exit(0);
}

/* Takes in whatever children have ended. Return: whether @pid is gone; *ret_status is set when it is among them. */
static bool reap(pid_t pid, int *ret_status)
{
	pid_t child;
	int status;

	while ((child = waitpid(-1, &status, WNOHANG)) > 0)
		if (child == pid)
			*ret_status = status;
	return kill(pid, 0) != 0;
}

static u64 now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000;
}

/* Waits for the process for so long. */
static bool wait_for(pid_t pid, unsigned int ms, int *ret_status)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	u64 end = now_ms() + ms;
	bool gone;

	while (!(gone = reap(pid, ret_status)) && now_ms() < end)
		poll(&p, 1, 100);
	if (pidfd >= 0)
		close(pidfd);
	return gone;
}

/* Kills all there is but ourselves. Return: whether it ended. */
static bool kill_everything(void)
{
	u64 start = now_ms();
	int status;

	while (now_ms() - start < KILL_MS) {
		pid_t child;

		kill(-1, SIGKILL);
		while ((child = waitpid(-1, &status, WNOHANG)) > 0)
			;
		if (child < 0)
			return true;
		sleep_ms(50);
	}
	return false;
}

static void play_script(unsigned int number)
{
	u64 start = now_ms();
	int status = 0;
	bool ended;
	pid_t pid;

	tidy_up();
	memset(office->desk, 0, sizeof(office->desk));
	say_into(transcript);
	tell("begin %u", number);
	pid = fork();
	if (!pid)
		play_here(number);
	ended = wait_for(pid, plan.timeout_s * 1000, &status);
	send_bytes(transcript->text, transcript->length);
	if (!ended)
		tell("lost %u it did not end within %u s", number, plan.timeout_s);
	else if (WIFSIGNALED(status))
		tell("lost %u the player was killed by signal %d", number, WTERMSIG(status));
	else if (status)
		tell("lost %u the player ended with status %d", number, WEXITSTATUS(status));
	else if (transcript->full)
		tell("lost %u the transcript is longer than %zu bytes", number, sizeof(transcript->text));
	else
		tell("end %u %" PRIu64, number, now_ms() - start);
	/* After a script that ended as it should, this finds nothing. */
	if (!kill_everything())
		fatal("what script %u left running cannot be killed", number);
}

static int parse_only(char **files)
{
	int status = 0;

	for (; *files; files++) {
		GError *error = NULL;
		const char *slash = strrchr(*files, '/');
		struct ps_script *script = ps_script_open(*files, slash ? slash + 1 : *files, &error);

		if (!script) {
			fprintf(stderr, "init: %s\n", error->message);
			return 1;
		}
		for (u32 i = 0; i < script->n; i++)
			printf("> %s\n", script->statements[i].text);
		if (script->error) {
			printf("> %s\n%s\n", script->error_text, script->error->message);
			status = 1;
		}
		ps_script_free(script);
	}
	return status;
}

int main(int argc, char **argv)
{
	char version[512];

	if (getpid() != 1) {
		if (argc > 2 && !strcmp(argv[1], "--parse"))
			return parse_only(argv + 2);
		fputs("init: the first program of the guest that tools/oracle boots; here: init --parse FILE.pgs...\n",
		      stderr);
		return 2;
	}
	if (argc < 2 || strcmp(argv[1], "--own-node"))
		move_to_own_node();
	open_serial_port();
	read_plan();
	set_up();
	small_file_read("/proc/version", version, sizeof(version));
	version[strcspn(version, "\n")] = '\0';
	tell("kernel %s", version);
	for (unsigned int i = 0; i < plan.nr_scripts; i++)
		play_script(i);
	tell("done");
	switch_off();
}
