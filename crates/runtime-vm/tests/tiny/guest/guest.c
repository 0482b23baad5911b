/* The least a guest can be: it calls its host over vsock, says that it has run something and how that ended, waits until that is safe,
 * and powers off. The command line has exit=CODE, and perhaps mute (it ends without a word), reset (it starts the machine anew) or stay
 * (what it runs ends when the host says so). */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

extern u64 level4[512];

static inline void outb(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outl(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline u32 inl(u16 port) {
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static inline void barrier(void) { __asm__ volatile("mfence" ::: "memory"); }

/* The compiler makes calls of these by itself. */
void *memset(void *to, int value, u64 length) {
    for (u64 at = 0; at < length; at++) ((volatile u8 *)to)[at] = (u8)value;
    return to;
}
void *memcpy(void *to, const void *from, u64 length) {
    for (u64 at = 0; at < length; at++) ((volatile u8 *)to)[at] = ((const u8 *)from)[at];
    return to;
}

static void print(const char *text) {
    while (*text) outb(0x3f8, (u8)*text++);
}

static void power_off(void) {
    for (;;) outb(0x600, 0x34);
}

static void fail(const char *what) {
    print("tiny guest: ");
    print(what);
    print("\n");
    power_off();
}

/* Memory of devices is far above what is mapped: each gets a page of 2 MiB. */
static u64 tables[8][512] __attribute__((aligned(4096)));
static u32 tables_used;

static u64 *table_below(u64 *entry) {
    if (!(*entry & 1)) {
        if (tables_used == 8) fail("no more page tables");
        *entry = (u64)tables[tables_used++] | 3;
    }
    return (u64 *)(*entry & ~0xfffUL);
}

static volatile u8 *map(u64 address) {
    if (address >> 32) {
        u64 *level3 = table_below(&level4[(address >> 39) & 511]);
        u64 *level2 = table_below(&level3[(address >> 30) & 511]);
        level2[(address >> 21) & 511] = (address & ~0x1fffffUL) | 0x93;
        __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
    }
    return (volatile u8 *)address;
}

static u32 pci(u32 device, u32 at) {
    outl(0xcf8, 0x80000000U | device << 11 | (at & 0xfc));
    return inl(0xcfc);
}

static void pci_write(u32 device, u32 at, u32 value) {
    outl(0xcf8, 0x80000000U | device << 11 | (at & 0xfc));
    outl(0xcfc, value);
}

#define SIZE 8

struct descriptor { u64 address; u32 length; u16 flags, next; };
struct queue {
    struct descriptor descriptors[SIZE] __attribute__((aligned(4096)));
    struct { u16 flags, index, ring[SIZE]; } available __attribute__((aligned(4096)));
    struct { u16 flags, index; struct { u32 id, length; } ring[SIZE]; } used __attribute__((aligned(4096)));
    u16 seen;
    volatile u16 *bell;
};

struct header {
    u64 from_cid, to_cid;
    u32 from_port, to_port, length;
    u16 type, op;
    u32 flags, room, taken;
} __attribute__((packed));

static struct queue queues[3];
static volatile u8 *common, *notify, *config;
static u32 multiplier;

static struct header received_headers[SIZE / 2], sent;
static u8 received[SIZE / 2][4096] __attribute__((aligned(4096)));
static u8 sending[256];
static u32 own_port = 1024, taken;

#define COMMON(type, at) (*(volatile type *)(common + (at)))

static u64 bar(u32 device, u32 number) {
    u64 low = pci(device, 0x10 + 4 * number);
    u64 high = (low & 6) == 4 ? pci(device, 0x14 + 4 * number) : 0;
    return high << 32 | (low & ~0xfUL);
}

static void find(void) {
    u32 device = 0;
    while (pci(device, 0) != 0x10531af4) {
        if (++device == 32) fail("no vsock device");
    }
    pci_write(device, 4, pci(device, 4) | 6);
    for (u32 at = pci(device, 0x34) & 0xfc; at; at = pci(device, at) >> 8 & 0xfc) {
        u32 first = pci(device, at);
        if ((first & 0xff) != 9) continue;
        volatile u8 *place = map(bar(device, pci(device, at + 4) & 0xff) + pci(device, at + 8));
        switch (first >> 24) {
        case 1: common = place; break;
        case 2: notify = place; multiplier = pci(device, at + 16); break;
        case 4: config = place; break;
        }
    }
    if (!common || !notify || !config) fail("no virtio capabilities");
}

static void set_up(void) {
    COMMON(u8, 20) = 0;
    while (COMMON(u8, 20)) {}
    COMMON(u8, 20) = 1;
    COMMON(u8, 20) = 3;
    COMMON(u32, 8) = 1;     /* VIRTIO_F_VERSION_1, and nothing else */
    COMMON(u32, 12) = 1;
    COMMON(u32, 8) = 0;
    COMMON(u32, 12) = 0;
    COMMON(u8, 20) = 11;
    if (!(COMMON(u8, 20) & 8)) fail("features are refused");
    for (u16 number = 0; number < 3; number++) {
        struct queue *queue = &queues[number];
        COMMON(u16, 22) = number;
        COMMON(u16, 24) = SIZE;
        COMMON(u64, 32) = (u64)queue->descriptors;
        COMMON(u64, 40) = (u64)&queue->available;
        COMMON(u64, 48) = (u64)&queue->used;
        queue->available.flags = 1; /* nobody listens to interrupts */
        queue->bell = (volatile u16 *)(notify + COMMON(u16, 30) * multiplier);
        COMMON(u16, 28) = 1;
    }
    COMMON(u8, 20) = 15;
}

static void offer(struct queue *queue, u16 number, u16 head) {
    queue->available.ring[queue->available.index % SIZE] = head;
    barrier();
    queue->available.index++;
    barrier();
    *queue->bell = number;
}

static void offer_received(u16 slot) {
    struct descriptor *pair = &queues[0].descriptors[2 * slot];
    pair[0] = (struct descriptor){(u64)&received_headers[slot], sizeof(struct header), 3, (u16)(2 * slot + 1)};
    pair[1] = (struct descriptor){(u64)received[slot], 4096, 2, 0};
    offer(&queues[0], 0, (u16)(2 * slot));
}

static void send(u16 op, u32 length) {
    struct queue *queue = &queues[1];
    sent = (struct header){*(volatile u64 *)config, 2, own_port, 1024, length, 1, op, 0, 65536, taken};
    queue->descriptors[0] = (struct descriptor){(u64)&sent, sizeof(sent), length ? 1 : 0, 1};
    queue->descriptors[1] = (struct descriptor){(u64)sending, length, 0, 0};
    offer(queue, 1, 0);
    while (*(volatile u16 *)&queue->used.index == queue->seen) __asm__ volatile("pause");
    queue->seen++;
}

/* The next packet; its slot is to be offered again. */
static u16 receive(void) {
    struct queue *queue = &queues[0];
    while (*(volatile u16 *)&queue->used.index == queue->seen) __asm__ volatile("pause");
    barrier();
    return (u16)(queue->used.ring[queue->seen++ % SIZE].id / 2);
}

static void call(void) {
    for (;;) {
        own_port++;
        taken = 0;
        send(1, 0);
        for (;;) {
            u16 slot = receive();
            u16 op = received_headers[slot].op;
            int ours = received_headers[slot].to_port == own_port;
            offer_received(slot);
            if (ours && op == 2) return;
            if (ours && op == 3) break;
        }
        for (volatile u32 wait = 0; wait < 20000; wait++) {}
    }
}

/* The packet at hand, and how much of it has been read. */
static u16 slot, slot_at;
static int slot_open;

/* Makes that there is a byte to be read; 0 when the host sends none any more. */
static int fill(void) {
    while (!slot_open || slot_at == received_headers[slot].length) {
        if (slot_open) {
            taken += received_headers[slot].length;
            offer_received(slot);
            slot_open = 0;
            send(6, 0);
        }
        slot = receive();
        slot_at = 0;
        u16 op = received_headers[slot].op;
        if (op == 5) {
            slot_open = 1;
        } else {
            offer_received(slot);
            if (op == 3 || op == 4) return 0;
            if (op == 7) send(6, 0);
        }
    }
    return 1;
}

/* Reads a frame, and tells what kind of message it has; -1 when the connection is over. What is in it is passed over as fast as
 * can be: where every instruction of a guest is emulated, a look at each byte takes longer than anybody waits. */
static int frame(void) {
    u32 length = 0;
    for (u32 at = 0; at < 4; at++) {
        if (!fill()) return -1;
        length |= (u32)received[slot][slot_at++] << 8 * at;
    }
    int kind = -1;
    while (length) {
        if (!fill()) return -1;
        if (kind < 0) kind = received[slot][slot_at];
        u32 here = received_headers[slot].length - slot_at;
        here = here < length ? here : length;
        slot_at += (u16)here;
        length -= here;
    }
    return kind;
}

static u32 end;

static void put(u8 byte) { sending[end++] = byte; }

static void number(u64 value) {
    for (; value > 127; value >>= 7) put((u8)(value | 128));
    put((u8)value);
}

static void begin(u8 kind) {
    end = 4;
    put(kind);
}

static void finish(void) {
    u32 length = end - 4;
    for (u32 at = 0; at < 4; at++) sending[at] = (u8)(length >> 8 * at);
    send(5, end);
}

static void hello(u8 state) {
    begin(0);
    number(1);
    number(4);
    put('t'), put('i'), put('n'), put('y');
    put(state);
    finish();
}

static const char *word(const char *line, const char *wanted) {
    for (; *line; line++) {
        u32 at = 0;
        while (wanted[at] && line[at] == wanted[at]) at++;
        if (!wanted[at]) return line + at;
    }
    return 0;
}

/* How far it is, as the host is told: it waits to be started, it runs, it has ended. */
static u8 state;

/* One conversation. Returns when it is over before the end is safe. */
static void converse(u64 code, int stay) {
    call();
    hello(state);
    if (frame() != 0) return;
    while (!state) {
        int kind = frame();
        if (kind < 0) return;
        state = kind == 1;
    }
    begin(1);
    number(7);
    number(1700000000000);
    finish();
    while (stay && state == 1) {
        int kind = frame();
        if (kind < 0) return;
        if (kind == 4 || kind == 5) break;
    }
    state = 2;
    begin(3);
    put(0);
    number(code << 1);
    number(1700000000001);
    finish();
    for (;;) {
        int kind = frame();
        if (kind < 0) return;
        if (kind == 3) {
            print("tiny guest: off\n");
            power_off();
        }
    }
}

void run(u32 start) {
    const char *line = (const char *)*(u64 *)((u64)start + 24);
    const char *code_text = line ? word(line, "exit=") : 0;
    u64 code = 0;
    for (; code_text && *code_text >= '0' && *code_text <= '9'; code_text++) code = code * 10 + (u64)(*code_text - '0');
    print("tiny guest: up\n");
    if (line && word(line, "reset")) {
        for (;;) outb(0x600, 1);
    }
    if (line && word(line, "mute")) power_off();
    find();
    set_up();
    for (u16 slot = 0; slot < SIZE / 2; slot++) offer_received(slot);
    int stay = line && word(line, "stay") != 0;
    for (;;) converse(code, stay);
}
