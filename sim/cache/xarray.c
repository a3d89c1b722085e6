/* SPDX-License-Identifier: MIT */
/*
 * The xarray as a tree of nodes of 1 << chunk_shift slots. A walk is a loop "which slot of this node holds the index";
 * everything else follows from where the walk stops. The encoding of slots is in the header.
 *
 *	xa_head ──▶ node shift 6 ─┬─▶ node shift 0: entries of indices 0..63
 *	                          ├── an entry of order 7, canonical at slot 2
 *	                          ├── sibling(2) at slot 3
 *	                          └─▶ node ...
 *
 * What readers may see. They hold no lock, so a writer orders its stores:
 *	- a node is complete before the slot that leads to it is stored;
 *	- siblings are stored after their canonical slot when an entry grows, and turned into entries before the
 *	  canonical slot is when it is split (from the last slot to the first), so a reader never follows a sibling to a
 *	  foreign entry; it may follow one to a node that has just replaced the canonical slot, and then looks again;
 *	- marks are cleared before a slot becomes NULL;
 *	- a node that is taken out of the tree while it still leads somewhere has its slots overwritten with retry
 *	  entries, and is freed after a grace period.
 *
 * Memory: an operation first counts the nodes it lacks and gets them all, then links them. A store that cannot get
 * them changes nothing. What it did get stays with the cursor, so that each round of xas_nomem brings it nearer.
 * (Linux links what it has and leaves a half-grown tree behind; no reader can tell.)
 *
 * Invariants (xa_validate):
 *	X1	shift, offset and parent of every node agree with where it hangs
 *	X2	count and nr_values equal a recount; no node is empty
 *	X3	an entry that needs 2^k slots begins at a multiple of 2^k, and its siblings follow it without a gap
 *	X4	a mark bit is set exactly if the entry has the mark or something below has; siblings have none; the
 *		array's bits are the union
 */
#include <stdio.h>
#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/bug.h>
#include <pagesim/xarray.h>

/* ---- shape ---- */

static inline unsigned int xa_slots(const struct xarray *xa)
{
	return 1U << xa->xa_chunk_shift;
}

static inline void *xa_mk_sibling(unsigned int offset)
{
	return xa_mk_internal(offset);
}

static inline unsigned int xa_to_sibling(const void *entry)
{
	return (unsigned int)xa_to_internal(entry);
}

static inline void *xa_mk_node(const struct xa_node *node)
{
	return (void *)((unsigned long)node | 2);
}

static inline struct xa_node *xa_to_node(const void *entry)
{
	return (struct xa_node *)((unsigned long)entry - 2);
}

static inline void *node_slot(const struct xa_node *node, unsigned int offset)
{
	return rcu_dereference(node->slots[offset]);
}

static inline struct xa_node *node_parent(const struct xa_node *node)
{
	return rcu_dereference(node->parent);
}

/* Slot of @node for @index. Only meaningful if the node covers the index. */
static inline unsigned int node_offset(const struct xarray *xa, const struct xa_node *node, unsigned long index)
{
	return (index >> node->shift) & (xa_slots(xa) - 1);
}

/* Does the node at the top, of @shift, cover @index? */
static inline bool top_covers(const struct xarray *xa, unsigned int shift, unsigned long index)
{
	return (index >> shift) < xa_slots(xa);
}

/* @index moved to the start of slot @offset of @node (@offset may be one past the last: the start of the node's right
 * neighbour). */
static inline unsigned long slot_index(const struct xarray *xa, const struct xa_node *node, unsigned long index,
				       unsigned int offset)
{
	unsigned long below = ~0UL;

	if (node->shift + xa->xa_chunk_shift < 64)
		below = (1UL << (node->shift + xa->xa_chunk_shift)) - 1;
	return (index & ~below) + ((unsigned long)offset << node->shift);
}

/* The last index the cursor's entry covers. */
static inline unsigned long xas_last_index(const struct xa_state *xas)
{
	return xas->xa_index | ((((unsigned long)xas->xa_sibs + 1) << xas->xa_shift) - 1);
}

/* Is the cursor on no slot of a node: on the head, not started, past the end, or in error? */
static inline bool xas_no_node(const struct xa_state *xas)
{
	return xas_invalid(xas) || !xas->xa_node;
}

static void *xas_set_bounds(struct xa_state *xas)
{
	xas->xa_node = XAS_BOUNDS;
	return NULL;
}

size_t xa_node_bytes(const struct xarray *xa)
{
	return offsetof(struct xa_node, slots) + xa_slots(xa) * sizeof(void *);
}

struct xa_state xa_state_at(struct xarray *xa, unsigned long index, unsigned int order)
{
	struct xa_state xas = { 0 };

	xas.xa = xa;
	xas_set_order(&xas, index, order);
	return xas;
}

void xas_set_order(struct xa_state *xas, unsigned long index, unsigned int order)
{
	unsigned int chunk = xas->xa->xa_chunk_shift;

	xas->xa_index = order < 64 ? index >> order << order : 0;
	xas->xa_shift = order - order % chunk;
	xas->xa_sibs = (1U << (order % chunk)) - 1;
	xas->xa_offset = 0;
	xas_reset(xas);
}

/* ---- marks ---- */

static inline bool node_mark(const struct xa_node *node, unsigned int offset, xa_mark_t mark)
{
	return READ_ONCE(node->marks[mark]) >> offset & 1;
}

static inline void node_set_mark(struct xa_node *node, unsigned int offset, xa_mark_t mark)
{
	WRITE_ONCE(node->marks[mark], node->marks[mark] | 1ULL << offset);
}

static inline void node_clear_mark(struct xa_node *node, unsigned int offset, xa_mark_t mark)
{
	WRITE_ONCE(node->marks[mark], node->marks[mark] & ~(1ULL << offset));
}

bool xa_marked(const struct xarray *xa, xa_mark_t mark)
{
	return READ_ONCE(xa->xa_marks) >> mark & 1;
}

bool xas_get_mark(const struct xa_state *xas, xa_mark_t mark)
{
	if (xas_invalid(xas))
		return false;
	if (!xas->xa_node)
		return xa_marked(xas->xa, mark);
	return node_mark(xas->xa_node, xas->xa_offset, mark);
}

/* From the slot upwards until a level already knows. */
void xas_set_mark(const struct xa_state *xas, xa_mark_t mark)
{
	struct xa_node *node = xas->xa_node;
	unsigned int offset = xas->xa_offset;

	if (xas_invalid(xas))
		return;
	for (; node; offset = node->offset, node = node->parent) {
		if (node_mark(node, offset, mark))
			return;
		node_set_mark(node, offset, mark);
	}
	if (!xa_marked(xas->xa, mark))
		WRITE_ONCE(xas->xa->xa_marks, (u8)(xas->xa->xa_marks | 1U << mark));
}

/* From the slot upwards until something else in the node still has the mark. */
void xas_clear_mark(const struct xa_state *xas, xa_mark_t mark)
{
	struct xa_node *node = xas->xa_node;
	unsigned int offset = xas->xa_offset;

	if (xas_invalid(xas))
		return;
	for (; node; offset = node->offset, node = node->parent) {
		if (!node_mark(node, offset, mark))
			return;
		node_clear_mark(node, offset, mark);
		if (node->marks[mark])
			return;
	}
	if (xa_marked(xas->xa, mark))
		WRITE_ONCE(xas->xa->xa_marks, (u8)(xas->xa->xa_marks & ~(1U << mark)));
}

void xas_init_marks(const struct xa_state *xas)
{
	for (xa_mark_t mark = 0; mark < XA_MAX_MARKS; mark++)
		xas_clear_mark(xas, mark);
}

/* One entry takes the place of several: it inherits what any of them had. */
static void xas_squash_marks(const struct xa_state *xas)
{
	u64 rest = ((2ULL << xas->xa_sibs) - 2) << xas->xa_offset;
	struct xa_node *node = xas->xa_node;

	for (xa_mark_t mark = 0; mark < XA_MAX_MARKS; mark++) {
		if (!(node->marks[mark] & rest))
			continue;
		WRITE_ONCE(node->marks[mark], (node->marks[mark] & ~rest) | 1ULL << xas->xa_offset);
	}
}

/* ---- memory ---- */

static struct xa_node *node_new(struct xarray *xa)
{
	return (struct xa_node *)ps_zalloc(xa_node_bytes(xa));
}

static void node_free_rcu(struct rcu_head *head)
{
	ps_free(container_of(head, struct xa_node, rcu_head));
}

/* The node has left the tree. */
static void node_free(struct xarray *xa, struct xa_node *node)
{
	xa->xa_nodes--;
	call_rcu(&node->rcu_head, node_free_rcu);
}

void xas_destroy(struct xa_state *xas)
{
	while (xas->xa_alloc) {
		struct xa_node *node = xas->xa_alloc;

		xas->xa_alloc = node->parent;
		ps_free(node);
	}
}

/* Adds to the cursor's stock until it holds @want nodes. */
static bool xas_stock(struct xa_state *xas, unsigned long want)
{
	unsigned long have = 0;

	for (struct xa_node *node = xas->xa_alloc; node && have < want; node = node->parent)
		have++;
	for (; have < want; have++) {
		struct xa_node *node = node_new(xas->xa);

		if (!node)
			return false;
		node->parent = xas->xa_alloc;
		xas->xa_alloc = node;
	}
	return true;
}

/* A node of the stock, ready to be linked. */
static struct xa_node *xas_take(struct xa_state *xas, unsigned int shift)
{
	struct xa_node *node = xas->xa_alloc;

	BUG_ON(!node);
	xas->xa_alloc = node->parent;
	node->parent = NULL;
	node->array = xas->xa;
	node->shift = (u8)shift;
	xas->xa->xa_nodes++;
	return node;
}

bool xas_nomem(struct xa_state *xas, gfp_t gfp)
{
	struct xa_node *node;

	(void)gfp;
	if (xas_error(xas) != -ENOMEM) {
		xas_destroy(xas);
		return false;
	}
	node = node_new(xas->xa);
	if (!node) {
		xas_destroy(xas);
		return false;
	}
	node->parent = xas->xa_alloc;
	xas->xa_alloc = node;
	xas_reset(xas);
	return true;
}

/* ---- walking ---- */

/* To the head. Return: what it holds, or NULL with the cursor past the end. */
static void *xas_start(struct xa_state *xas)
{
	void *entry;

	if (xas_valid(xas))
		return xas_reload(xas);
	if (xas_error(xas))
		return NULL;
	entry = rcu_dereference(xas->xa->xa_head);
	if (xa_is_node(entry) ? !top_covers(xas->xa, xa_to_node(entry)->shift, xas->xa_index) : xas->xa_index != 0)
		return xas_set_bounds(xas);
	xas->xa_node = NULL;
	return entry;
}

/*
 * One level down, to the canonical slot. A sibling that leads to a node was read before a split and its canonical slot
 * after it: what stands there now is not what the sibling belonged to, so the reader is sent back to the head.
 */
static void *xas_descend(struct xa_state *xas, struct xa_node *node)
{
	unsigned int offset = node_offset(xas->xa, node, xas->xa_index);
	void *entry = node_slot(node, offset);

	while (xa_is_sibling(entry)) {
		offset = xa_to_sibling(entry);
		entry = node_slot(node, offset);
		if (node->shift && xa_is_node(entry))
			entry = XA_RETRY_ENTRY;
	}
	xas->xa_node = node;
	xas->xa_offset = (u8)offset;
	return entry;
}

void *xas_load(struct xa_state *xas)
{
	void *entry = xas_start(xas);

	while (xa_is_node(entry)) {
		struct xa_node *node = xa_to_node(entry);

		if (xas->xa_shift > node->shift)
			break;
		entry = xas_descend(xas, node);
		if (node->shift == 0)
			break;
	}
	return entry;
}

void *xas_reload(struct xa_state *xas)
{
	struct xa_node *node = xas->xa_node;
	void *entry;

	if (xas_invalid(xas))
		return NULL;
	if (!node)
		return rcu_dereference(xas->xa->xa_head);
	entry = node_slot(node, node_offset(xas->xa, node, xas->xa_index));
	if (xa_is_sibling(entry))
		entry = node_slot(node, xa_to_sibling(entry));
	return entry;
}

/*
 * The search under xas_find and xas_find_marked. A cursor that was not started looks at its own index first; one that
 * stands on a slot goes on behind it.
 */
static void *xas_scan(struct xa_state *xas, unsigned long max, xa_mark_t mark)
{
	struct xarray *xa = xas->xa;
	bool marked = mark != XA_PRESENT;
	unsigned int offset;

	if (xas_error(xas) || xas->xa_node == XAS_BOUNDS)
		return NULL;
	if (xas->xa_index > max)
		return xas_set_bounds(xas);
	if (xas->xa_node == XAS_RESTART) {
		void *entry = xas_load(xas);

		if (xas->xa_node == XAS_BOUNDS)
			return NULL;
		if (entry && (!marked || xa_is_retry(entry) || xas_get_mark(xas, mark)))
			return entry;
	}
	if (!xas->xa_node)
		return xas_set_bounds(xas);

	offset = node_offset(xa, xas->xa_node, xas->xa_index);
	if (offset < xas->xa_offset)
		offset = xas->xa_offset;
	offset++;
	for (;;) {
		struct xa_node *node = xas->xa_node;
		unsigned long index;
		void *entry;

		if (marked && offset < xa_slots(xa)) {
			u64 ahead = READ_ONCE(node->marks[mark]) >> offset;

			offset = ahead ? offset + (unsigned int)__builtin_ctzll(ahead) : xa_slots(xa);
		}
		if (offset == xa_slots(xa)) {
			offset = node->offset + 1U;
			xas->xa_node = node_parent(node);
			if (!xas->xa_node)
				break;
			continue;
		}
		index = slot_index(xa, node, xas->xa_index, offset);
		if (index > max || index < (xas->xa_index & ~((1UL << node->shift) - 1)))
			break;
		entry = node_slot(node, offset);
		if (xa_is_node(entry) && node->shift) {
			xas->xa_index = index;
			xas->xa_node = xa_to_node(entry);
			offset = 0;
			continue;
		}
		if (entry && !xa_is_sibling(entry)) {
			xas->xa_index = index;
			xas->xa_offset = (u8)offset;
			return entry;
		}
		offset++;
	}
	return xas_set_bounds(xas);
}

void *xas_find(struct xa_state *xas, unsigned long max)
{
	return xas_scan(xas, max, XA_PRESENT);
}

void *xas_find_marked(struct xa_state *xas, unsigned long max, xa_mark_t mark)
{
	return xas_scan(xas, max, mark);
}

/* Down to the level of single entries, whatever the cursor's own level. */
static void *xas_load_deep(struct xa_state *xas)
{
	void *entry = xas_start(xas);

	while (xa_is_node(entry))
		entry = xas_descend(xas, xa_to_node(entry));
	return entry;
}

/*
 * Walks the span of the cursor in order of indices. The position is kept in xa_node and xa_offset, xa_index stays, so
 * that the caller may store over the span when the walk ends (which leaves the cursor not started).
 */
void *xas_find_conflict(struct xa_state *xas)
{
	struct xarray *xa = xas->xa;
	void *entry;

	if (xas_error(xas) || !xas->xa_node)
		return NULL;
	if (xas_invalid(xas)) {
		entry = xas_load_deep(xas);
		if (xas_no_node(xas) || entry)
			return entry;
	}
	for (;;) {
		struct xa_node *node = xas->xa_node;

		if (node->shift > xas->xa_shift)
			break;
		if (node->shift == xas->xa_shift &&
		    xas->xa_offset >= node_offset(xa, node, xas->xa_index) + xas->xa_sibs)
			break;
		if (xas->xa_offset == xa_slots(xa) - 1) {
			xas->xa_offset = node->offset;
			xas->xa_node = node->parent;
			if (!xas->xa_node)
				break;
			continue;
		}
		entry = node_slot(node, ++xas->xa_offset);
		if (xa_is_sibling(entry))
			continue;
		while (xa_is_node(entry)) {
			xas->xa_node = xa_to_node(entry);
			xas->xa_offset = 0;
			entry = node_slot(xas->xa_node, 0);
		}
		if (entry)
			return entry;
	}
	xas_reset(xas);
	return NULL;
}

void *xas_next(struct xa_state *xas)
{
	struct xa_node *node = xas->xa_node;

	if (xas_error(xas))
		return NULL;
	if (node == XAS_RESTART)
		return xas_load(xas);
	if (++xas->xa_index == 0)
		return xas_set_bounds(xas);
	if (!xas_no_node(xas) && !node->shift && node_offset(xas->xa, node, xas->xa_index))
		return xas_descend(xas, node);
	xas_reset(xas);
	return xas_load(xas);
}

void *xas_prev(struct xa_state *xas)
{
	struct xa_node *node = xas->xa_node;

	if (xas_error(xas))
		return NULL;
	if (node == XAS_RESTART)
		return xas_load(xas);
	if (xas->xa_index-- == 0)
		return xas_set_bounds(xas);
	if (!xas_no_node(xas) && !node->shift && node_offset(xas->xa, node, xas->xa_index) != xa_slots(xas->xa) - 1)
		return xas_descend(xas, node);
	xas_reset(xas);
	return xas_load(xas);
}

void xas_pause(struct xa_state *xas)
{
	struct xa_node *node = xas->xa_node;
	unsigned long next;

	if (xas_invalid(xas))
		return;
	next = xas->xa_index + 1;
	if (node) {
		unsigned int offset = node_offset(xas->xa, node, xas->xa_index);

		while (++offset < xa_slots(xas->xa) && xa_is_sibling(node_slot(node, offset)))
			;
		next = slot_index(xas->xa, node, xas->xa_index, offset);
	}
	if (next <= xas->xa_index) {
		xas_set_bounds(xas);
		return;
	}
	xas->xa_index = next;
	xas_reset(xas);
}

/* ---- growing and shrinking ---- */

/* Lowest top level for the cursor's entry: at least its own level, and covering its last index. */
static unsigned int xas_top_shift(const struct xa_state *xas)
{
	unsigned long last = xas_last_index(xas);
	unsigned int shift = xas->xa_shift;

	while (!top_covers(xas->xa, shift, last))
		shift += xas->xa->xa_chunk_shift;
	return shift;
}

/*
 * Nodes that making the cursor's slot would link: the levels that grow above the old head, and the levels of the path
 * to the slot that are neither among those nor in the old tree.
 */
static unsigned long xas_count_missing(const struct xa_state *xas, unsigned int top)
{
	const struct xarray *xa = xas->xa;
	const unsigned int chunk = xa->xa_chunk_shift;
	const struct xa_node *node = xa_is_node(xa->xa_head) ? xa_to_node(xa->xa_head) : NULL;
	unsigned int low = node ? node->shift + chunk : 0; /* the first level above the old tree */
	unsigned long missing = 0;

	if (!xa->xa_head)
		return (top - xas->xa_shift) / chunk + 1;
	for (unsigned int shift = low; shift <= top; shift += chunk) {
		missing++;
		/* The grown nodes all begin at index 0; a path elsewhere needs its own. */
		if (shift >= xas->xa_shift && shift + chunk < 64 && xas->xa_index >> (shift + chunk))
			missing++;
	}
	if (!node)
		return missing;
	if (!top_covers(xa, node->shift, xas->xa_index))
		return node->shift < xas->xa_shift ? missing : missing + (node->shift - xas->xa_shift) / chunk + 1;
	while (node->shift > xas->xa_shift) {
		void *entry = node->slots[node_offset(xa, node, xas->xa_index)];

		if (!entry)
			return missing + (node->shift - xas->xa_shift) / chunk;
		if (!xa_is_node(entry))
			break;
		node = xa_to_node(entry);
	}
	return missing;
}

/* One level on top of the head. */
static void xas_grow(struct xa_state *xas)
{
	struct xarray *xa = xas->xa;
	void *head = xa->xa_head;
	struct xa_node *old = xa_is_node(head) ? xa_to_node(head) : NULL;
	struct xa_node *node = xas_take(xas, old ? old->shift + xa->xa_chunk_shift : 0);

	node->count = 1;
	node->nr_values = xa_is_value(head);
	node->slots[0] = head;
	for (xa_mark_t mark = 0; mark < XA_MAX_MARKS; mark++) {
		if (xa_marked(xa, mark))
			node->marks[mark] = 1;
	}
	if (old)
		rcu_assign_pointer(old->parent, node);
	rcu_assign_pointer(xa->xa_head, xa_mk_node(node));
}

/*
 * Makes the slot for the cursor's entry and walks to it. A multi-index entry above the cursor's level ends the walk: a
 * store replaces all of it. Return: what the slot holds. The cursor stands on the head (xa_node NULL) only if
 * @allow_root and the entry is of index 0 alone.
 */
static void *xas_create(struct xa_state *xas, bool allow_root)
{
	struct xarray *xa = xas->xa;
	struct xa_node *node;
	unsigned int top;

	if (xas_error(xas))
		return NULL;
	if (!xas_no_node(xas) && xas->xa_node->shift == xas->xa_shift)
		return xas_descend(xas, xas->xa_node);
	if (allow_root && xas_last_index(xas) == 0 && !xa_is_node(xa->xa_head)) {
		xas->xa_node = NULL;
		return xa->xa_head;
	}
	top = xas_top_shift(xas);
	if (!xas_stock(xas, xas_count_missing(xas, top))) {
		xas_set_err(xas, -ENOMEM);
		return NULL;
	}
	while (xa->xa_head && (!xa_is_node(xa->xa_head) || xa_to_node(xa->xa_head)->shift < top))
		xas_grow(xas);
	if (!xa->xa_head) {
		node = xas_take(xas, top);
		rcu_assign_pointer(xa->xa_head, xa_mk_node(node));
	}
	node = xa_to_node(xa->xa_head);
	while (node->shift > xas->xa_shift) {
		unsigned int offset = node_offset(xa, node, xas->xa_index);
		void *entry = node->slots[offset];

		if (!entry) {
			struct xa_node *child = xas_take(xas, node->shift - xa->xa_chunk_shift);

			child->offset = (u8)offset;
			child->parent = node;
			node->count++;
			entry = xa_mk_node(child);
			rcu_assign_pointer(node->slots[offset], entry);
		}
		if (!xa_is_node(entry))
			break;
		node = xa_to_node(entry);
	}
	return xas_descend(xas, node);
}

/* Everything below @node leaves the tree; who still looks at it is sent back to the head. */
static void node_free_tree(struct xarray *xa, struct xa_node *node)
{
	for (unsigned int offset = 0; offset < xa_slots(xa); offset++) {
		void *entry = node->slots[offset];

		if (!entry)
			continue;
		if (node->shift && xa_is_node(entry))
			node_free_tree(xa, xa_to_node(entry));
		rcu_assign_pointer(node->slots[offset], XA_RETRY_ENTRY);
	}
	node_free(xa, node);
}

/* Lowers the head while it leads to nothing but the start of the array. */
static void xas_shrink(struct xa_state *xas)
{
	struct xarray *xa = xas->xa;
	struct xa_node *node = xas->xa_node;

	while (node->count == 1) {
		void *entry = node->slots[0];

		if (!entry || xa_is_zero(entry) || (node->shift && !xa_is_node(entry)))
			break;
		xas->xa_node = XAS_BOUNDS;
		if (xa_is_node(entry))
			rcu_assign_pointer(xa_to_node(entry)->parent, NULL);
		rcu_assign_pointer(xa->xa_head, entry);
		if (!xa_is_node(entry))
			rcu_assign_pointer(node->slots[0], XA_RETRY_ENTRY);
		node_free(xa, node);
		if (!xa_is_node(entry))
			break;
		node = xa_to_node(entry);
	}
}

/* Slots of the cursor's node were emptied: an empty node goes, and its parent if that empties it; what is left on top
 * may be lowered. */
static void xas_prune(struct xa_state *xas)
{
	struct xarray *xa = xas->xa;
	struct xa_node *node = xas->xa_node;

	while (!node->count) {
		struct xa_node *parent = node->parent;

		xas->xa_offset = node->offset;
		if (!parent) {
			rcu_assign_pointer(xa->xa_head, NULL);
			xas->xa_node = XAS_BOUNDS;
			node_free(xa, node);
			return;
		}
		xas->xa_node = parent;
		rcu_assign_pointer(parent->slots[node->offset], NULL);
		parent->count--;
		node_free(xa, node);
		node = parent;
	}
	if (!node->parent)
		xas_shrink(xas);
}

void *xas_store(struct xa_state *xas, void *entry)
{
	struct xarray *xa = xas->xa;
	struct xa_node *node;
	void *first, *old, *store = entry;
	bool value = xa_is_value(entry), old_value;
	unsigned int offset, last;
	int count = 0, values = 0;

	first = entry ? xas_create(xas, !xa_is_zero(entry)) : xas_load(xas);
	if (xas_invalid(xas))
		return first;
	node = xas->xa_node;
	if (!node) {
		if (first == entry)
			return first;
		if (!entry)
			xas_init_marks(xas);
		rcu_assign_pointer(xa->xa_head, entry);
		/* A span that covers the whole tree was erased. */
		if (xa_is_node(first))
			node_free_tree(xa, xa_to_node(first));
		return first;
	}

	offset = xas->xa_offset;
	last = offset;
	/* Part of a larger entry: all of that is meant, and it has its siblings already. */
	if (node->shift == xas->xa_shift)
		last += xas->xa_sibs;
	if (first == entry && last == offset)
		return first;
	if (last > offset)
		xas_squash_marks(xas);
	if (!entry)
		xas_init_marks(xas);

	/* An erased entry's siblings go with it; a replaced one's change their kind with it. */
	old_value = xa_is_value(first);
	for (unsigned int slot = offset; slot < xa_slots(xa); slot++) {
		old = node->slots[slot];
		if (!xa_is_sibling(old)) {
			if (slot > last)
				break;
			old_value = xa_is_value(old);
		}
		count += !!entry - !!old;
		values += value - (old && old_value);
		if (entry && slot > last)
			continue;
		rcu_assign_pointer(node->slots[slot], store);
		if (node->shift && xa_is_node(old))
			node_free_tree(xa, xa_to_node(old));
		if (entry)
			store = xa_mk_sibling(offset);
	}
	node->count = (u8)(node->count + count);
	node->nr_values = (u8)(node->nr_values + values);
	if (count < 0)
		xas_prune(xas);
	return first;
}

void xas_create_range(struct xa_state *xas)
{
	struct xarray *xa = xas->xa;
	const unsigned long first = xas->xa_index, last = xas_last_index(xas);
	const u8 shift = xas->xa_shift, sibs = xas->xa_sibs;
	unsigned long want = 0, index = first;

	if (xas_error(xas))
		return;
	/* Never more than all nodes over the span, and a new top. */
	for (unsigned int level = xa->xa_chunk_shift;; level += xa->xa_chunk_shift) {
		want += 1 + (level < 64 ? (last >> level) - (first >> level) + 1 : 1);
		if (level >= 64)
			break;
	}
	if (!xas_stock(xas, want)) {
		xas_set_err(xas, -ENOMEM);
		return;
	}
	for (;;) {
		xas_set(xas, index);
		xas_create(xas, false);
		if (last - index < xa_slots(xa))
			break;
		index += xa_slots(xa);
	}
	xas_destroy(xas);
	xas_set(xas, first);
	xas->xa_shift = shift;
	xas->xa_sibs = sibs;
}

/* ---- splitting ---- */

/* Nodes a split of one slot of @shift into entries of level @target needs. */
static unsigned long split_nodes(const struct xarray *xa, unsigned int shift, unsigned int target)
{
	unsigned long nodes = 0, level = 1;

	for (; shift > target; shift -= xa->xa_chunk_shift) {
		nodes += level;
		level <<= xa->xa_chunk_shift;
	}
	return nodes;
}

void xas_split_alloc(struct xa_state *xas, void *entry, unsigned int order, gfp_t gfp)
{
	const unsigned int chunk = xas->xa->xa_chunk_shift;
	const unsigned int shift = order - order % chunk;

	(void)gfp;
	(void)entry;
	if (xas_error(xas))
		return;
	if (shift < xas->xa_shift) {
		xas_set_err(xas, -EINVAL);
		return;
	}
	if (xas_stock(xas, split_nodes(xas->xa, shift, xas->xa_shift) << order % chunk))
		return;
	xas_destroy(xas);
	xas_set_err(xas, -ENOMEM);
}

/*
 * Fills @slots slots of @node from @offset with entries of the cursor's order, or with nodes full of them. @marks: bit
 * m, the old entry had mark m. From the last slot to the first: the canonical slot, where readers that come by a
 * sibling look, changes last.
 */
static void node_split(struct xa_state *xas, struct xa_node *node, unsigned int offset, unsigned int slots, void *entry,
		       unsigned int marks)
{
	struct xarray *xa = xas->xa;
	const unsigned int step = node->shift == xas->xa_shift ? xas->xa_sibs + 1U : 1;

	for (unsigned int i = slots; i-- > 0;) {
		unsigned int slot = offset + i, canonical = offset + i / step * step;
		void *store = slot == canonical ? entry : xa_mk_sibling(canonical);

		if (slot == canonical) {
			for (xa_mark_t mark = 0; mark < XA_MAX_MARKS; mark++) {
				if (marks >> mark & 1)
					node_set_mark(node, slot, mark);
			}
		}
		if (node->shift > xas->xa_shift) {
			struct xa_node *child = xas_take(xas, node->shift - xa->xa_chunk_shift);

			child->offset = (u8)slot;
			child->parent = node;
			child->count = (u8)xa_slots(xa);
			child->nr_values = xa_is_value(entry) && child->shift == xas->xa_shift ? (u8)xa_slots(xa) : 0;
			node_split(xas, child, 0, xa_slots(xa), entry, marks);
			store = xa_mk_node(child);
		}
		rcu_assign_pointer(node->slots[slot], store);
	}
}

void xas_split(struct xa_state *xas, void *entry, unsigned int order)
{
	const unsigned int chunk = xas->xa->xa_chunk_shift;
	const unsigned int slots = 1U << order % chunk;
	unsigned int marks = 0;
	struct xa_node *node;
	unsigned long index = xas->xa_index;
	void *old;

	/* The cursor's own order names the pieces; to find the whole it must be able to stop at any level. */
	old = xas_load(xas);
	node = xas->xa_node;
	if (xas_no_node(xas) || xa_is_internal(old) || node->shift != order - order % chunk)
		return;
	for (xa_mark_t mark = 0; mark < XA_MAX_MARKS; mark++)
		marks |= (unsigned int)node_mark(node, xas->xa_offset, mark) << mark;
	if (xa_is_value(old))
		node->nr_values = (u8)(node->nr_values - slots);
	if (xa_is_value(entry) && node->shift == xas->xa_shift)
		node->nr_values = (u8)(node->nr_values + slots);
	node_split(xas, node, xas->xa_offset, slots, entry, marks);
	xas->xa_index = index;
	xas_reset(xas);
}

/* ---- normal interface ---- */

void xa_init(struct xarray *xa)
{
	xa_init_chunk(xa, XA_CHUNK_SHIFT_MAX);
}

void xa_init_chunk(struct xarray *xa, unsigned int chunk_shift)
{
	BUG_ON(chunk_shift < 1 || chunk_shift > XA_CHUNK_SHIFT_MAX);
	memset(xa, 0, sizeof(*xa));
	spin_lock_init(&xa->xa_lock, XA_LOCK);
	xa->xa_chunk_shift = (u8)chunk_shift;
}

void xa_destroy(struct xarray *xa)
{
	void *head;

	xa_lock(xa);
	head = xa->xa_head;
	xa->xa_marks = 0;
	rcu_assign_pointer(xa->xa_head, NULL);
	if (xa_is_node(head))
		node_free_tree(xa, xa_to_node(head));
	xa_unlock(xa);
}

/* What a user of the normal interface gets to see. */
static void *xas_result(const struct xa_state *xas, void *entry)
{
	if (xas_error(xas))
		return xas->xa_node;
	return xa_is_zero(entry) ? NULL : entry;
}

void *xa_load(struct xarray *xa, unsigned long index)
{
	XA_STATE(xas, xa, index);
	void *entry;

	rcu_read_lock();
	do {
		entry = xas_load(&xas);
		if (xa_is_zero(entry))
			entry = NULL;
	} while (xas_retry(&xas, entry));
	rcu_read_unlock();
	return entry;
}

void *__xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)
{
	XA_STATE(xas, xa, index);
	void *old;

	if (xa_is_advanced(entry) || xa_is_node(entry))
		return xa_mk_internal((unsigned long)-EINVAL);
	do {
		old = xas_store(&xas, entry);
	} while (xas_nomem(&xas, gfp));
	return xas_result(&xas, old);
}

void *xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)
{
	void *old;

	xa_lock(xa);
	old = __xa_store(xa, index, entry, gfp);
	xa_unlock(xa);
	return old;
}

void *__xa_erase(struct xarray *xa, unsigned long index)
{
	XA_STATE(xas, xa, index);

	return xas_result(&xas, xas_store(&xas, NULL));
}

void *xa_erase(struct xarray *xa, unsigned long index)
{
	void *old;

	xa_lock(xa);
	old = __xa_erase(xa, index);
	xa_unlock(xa);
	return old;
}

void *__xa_cmpxchg(struct xarray *xa, unsigned long index, void *old, void *entry, gfp_t gfp)
{
	XA_STATE(xas, xa, index);
	void *curr;

	if (xa_is_advanced(entry) || xa_is_node(entry))
		return xa_mk_internal((unsigned long)-EINVAL);
	do {
		curr = xas_load(&xas);
		if (curr == old)
			xas_store(&xas, entry);
	} while (xas_nomem(&xas, gfp));
	return xas_result(&xas, curr);
}

void *xa_cmpxchg(struct xarray *xa, unsigned long index, void *old, void *entry, gfp_t gfp)
{
	void *curr;

	xa_lock(xa);
	curr = __xa_cmpxchg(xa, index, old, entry, gfp);
	xa_unlock(xa);
	return curr;
}

int __xa_insert(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)
{
	XA_STATE(xas, xa, index);
	void *curr;

	if (!entry)
		entry = XA_ZERO_ENTRY;
	if (xa_is_advanced(entry) || xa_is_node(entry))
		return -EINVAL;
	do {
		curr = xas_load(&xas);
		if (!curr)
			xas_store(&xas, entry);
		else
			xas_set_err(&xas, -EBUSY);
	} while (xas_nomem(&xas, gfp));
	return xas_error(&xas);
}

int xa_insert(struct xarray *xa, unsigned long index, void *entry, gfp_t gfp)
{
	int err;

	xa_lock(xa);
	err = __xa_insert(xa, index, entry, gfp);
	xa_unlock(xa);
	return err;
}

int xa_reserve(struct xarray *xa, unsigned long index, gfp_t gfp)
{
	return xa_err(xa_cmpxchg(xa, index, NULL, XA_ZERO_ENTRY, gfp));
}

void xa_release(struct xarray *xa, unsigned long index)
{
	xa_cmpxchg(xa, index, XA_ZERO_ENTRY, NULL, 0);
}

void *xa_store_range(struct xarray *xa, unsigned long first, unsigned long last, void *entry, gfp_t gfp)
{
	XA_STATE(xas, xa, first);

	if (xa_is_internal(entry) || last < first)
		return xa_mk_internal((unsigned long)-EINVAL);
	xa_lock(xa);
	for (unsigned long index = first;;) {
		unsigned int order = index ? (unsigned int)__builtin_ctzl(index) : 63;

		while (last - index < (1UL << order) - 1)
			order--;
		do {
			xas_set_order(&xas, index, order);
			xas_store(&xas, entry);
		} while (xas_nomem(&xas, gfp));
		if (xas_error(&xas) || last - index == (1UL << order) - 1)
			break;
		index += 1UL << order;
	}
	xa_unlock(xa);
	return xas_result(&xas, NULL);
}

int xa_get_order(struct xarray *xa, unsigned long index)
{
	XA_STATE(xas, xa, index);
	void *entry;
	int order = 0;

	rcu_read_lock();
	do {
		entry = xas_load(&xas);
	} while (xa_is_retry(entry) && xas_retry(&xas, entry));
	if (entry && !xas_no_node(&xas)) {
		struct xa_node *node = xas.xa_node;
		unsigned int slots = 1;

		while (xas.xa_offset + slots < xa_slots(xa) && xa_is_sibling(node_slot(node, xas.xa_offset + slots)))
			slots++;
		order = node->shift + (31 - __builtin_clz(slots));
	}
	rcu_read_unlock();
	return order;
}

bool xa_get_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)
{
	XA_STATE(xas, xa, index);
	bool marked;
	void *entry;

	rcu_read_lock();
	do {
		entry = xas_load(&xas);
	} while (xa_is_retry(entry) && xas_retry(&xas, entry));
	marked = entry && xas_get_mark(&xas, mark);
	rcu_read_unlock();
	return marked;
}

void __xa_set_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)
{
	XA_STATE(xas, xa, index);

	if (xas_load(&xas))
		xas_set_mark(&xas, mark);
}

void xa_set_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)
{
	xa_lock(xa);
	__xa_set_mark(xa, index, mark);
	xa_unlock(xa);
}

void __xa_clear_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)
{
	XA_STATE(xas, xa, index);

	if (xas_load(&xas))
		xas_clear_mark(&xas, mark);
}

void xa_clear_mark(struct xarray *xa, unsigned long index, xa_mark_t mark)
{
	xa_lock(xa);
	__xa_clear_mark(xa, index, mark);
	xa_unlock(xa);
}

void *xa_find(struct xarray *xa, unsigned long *indexp, unsigned long max, xa_mark_t filter)
{
	XA_STATE(xas, xa, *indexp);
	void *entry;

	rcu_read_lock();
	do {
		entry = xas_scan(&xas, max, filter);
	} while (xas_retry(&xas, entry));
	rcu_read_unlock();
	if (entry)
		*indexp = xas.xa_index;
	return entry;
}

void *xa_find_after(struct xarray *xa, unsigned long *indexp, unsigned long max, xa_mark_t filter)
{
	XA_STATE(xas, xa, *indexp);
	void *entry;

	rcu_read_lock();
	/* Stand on the entry at *indexp, however wide it is: the search goes on behind it. */
	do {
		entry = xas_load(&xas);
	} while (xa_is_retry(entry) && xas_retry(&xas, entry));
	do {
		entry = xas_scan(&xas, max, filter);
	} while (xas_retry(&xas, entry));
	rcu_read_unlock();
	if (entry)
		*indexp = xas.xa_index;
	return entry;
}

unsigned int xa_extract(struct xarray *xa, void **dst, unsigned long start, unsigned long max, unsigned int n,
			xa_mark_t filter)
{
	XA_STATE(xas, xa, start);
	unsigned int got = 0;
	void *entry;

	rcu_read_lock();
	while (got < n && (entry = xas_scan(&xas, max, filter))) {
		if (xas_retry(&xas, entry))
			continue;
		dst[got++] = entry;
	}
	rcu_read_unlock();
	return got;
}

/* ---- truth ---- */

struct xa_check {
	const struct xarray *xa;
	char *why;
	size_t len;
	unsigned long nodes;
};

static bool xa_wrong(struct xa_check *check, const struct xa_node *node, unsigned long index, const char *what)
{
	if (check->why && check->len)
		snprintf(check->why, check->len, "xarray node of shift %u, index %lu: %s", node ? node->shift : 0,
			 index, what);
	return false;
}

/* Checks @node, whose first index is @index. @ret_marks: bit m, something in it has mark m. */
static bool node_validate(struct xa_check *check, const struct xa_node *node, unsigned long index,
			  unsigned int *ret_marks)
{
	const struct xarray *xa = check->xa;
	unsigned int canonical = 0, span = 0, count = 0, values = 0;
	bool value = false;

	check->nodes++;
	*ret_marks = 0;
	if (node->array != xa)
		return xa_wrong(check, node, index, "X1: of another array");
	if (node->shift % xa->xa_chunk_shift)
		return xa_wrong(check, node, index, "X1: shift is no level");
	for (unsigned int slot = 0; slot <= xa_slots(xa); slot++) {
		void *entry = slot < xa_slots(xa) ? node->slots[slot] : NULL;
		unsigned long at = slot_index(xa, node, index, slot);
		unsigned int marks = 0;

		if (xa_is_sibling(entry)) {
			if (!span || xa_to_sibling(entry) != canonical)
				return xa_wrong(check, node, at, "X3: sibling of another slot");
			span++;
		} else {
			/* The entry before ends here. */
			if (span && ((span & (span - 1)) || canonical % span))
				return xa_wrong(check, node, at, "X3: span is no aligned power of two");
			span = 0;
		}
		if (slot == xa_slots(xa))
			break;
		for (xa_mark_t mark = 0; mark < XA_MAX_MARKS; mark++)
			marks |= (unsigned int)(node->marks[mark] >> slot & 1) << mark;
		if (!entry || xa_is_sibling(entry)) {
			if (marks)
				return xa_wrong(check, node, at, "X4: mark on an empty slot or a sibling");
			count += !!entry;
			values += entry && value;
			continue;
		}
		count++;
		value = false;
		if (node->shift && xa_is_node(entry)) {
			const struct xa_node *child = xa_to_node(entry);
			unsigned int below;

			if (child->parent != node || child->offset != slot ||
			    child->shift + xa->xa_chunk_shift != node->shift)
				return xa_wrong(check, node, at, "X1: child disagrees about its place");
			if (!node_validate(check, child, at, &below))
				return false;
			if (below != marks)
				return xa_wrong(check, node, at, "X4: mark does not say what is below");
		} else {
			if (xa_is_internal(entry) && !xa_is_zero(entry))
				return xa_wrong(check, node, at, "X1: internal entry that belongs elsewhere");
			canonical = slot;
			span = 1;
			value = xa_is_value(entry);
			values += value;
		}
		*ret_marks |= marks;
	}
	if (count != node->count)
		return xa_wrong(check, node, index, "X2: count differs from a recount");
	if (values != node->nr_values)
		return xa_wrong(check, node, index, "X2: nr_values differs from a recount");
	if (!count)
		return xa_wrong(check, node, index, "X2: empty node");
	return true;
}

bool xa_validate(const struct xarray *xa, char *ret_why, size_t why_len)
{
	struct xa_check check = { .xa = xa, .why = ret_why, .len = why_len };
	const void *head = xa->xa_head;
	unsigned int marks = 0;

	if (xa_is_node(head)) {
		const struct xa_node *node = xa_to_node(head);

		if (node->parent || node->offset)
			return xa_wrong(&check, node, 0, "X1: top node has a parent");
		if (!node_validate(&check, node, 0, &marks))
			return false;
	} else if (xa_is_internal(head)) {
		return xa_wrong(&check, NULL, 0, "X1: internal entry in the head");
	} else {
		marks = head ? xa->xa_marks : 0;
	}
	if (marks != xa->xa_marks)
		return xa_wrong(&check, NULL, 0, "X4: marks of the array differ from those of its entries");
	if (check.nodes != xa->xa_nodes)
		return xa_wrong(&check, NULL, 0, "X2: number of nodes differs from a recount");
	return true;
}
