// The mount helpers as Perl scripts. They use no module, because loading Socket or POSIX costs more than all the rest; so
// system calls go by number, and the structs for sendmsg(2) are packed by hand (64-bit, little-endian).

const NUMBERS: Partial<
  Record<NodeJS.Architecture, { mount: number; umount2: number; setsid: number; sendmsg: number }>
> = {
  x64: { mount: 165, umount2: 166, setsid: 112, sendmsg: 46 },
  arm64: { mount: 40, umount2: 39, setsid: 157, sendmsg: 211 },
};

function numbers(): NonNullable<(typeof NUMBERS)['x64']> {
  const found = NUMBERS[process.arch];
  if (found === undefined) throw new Error(`the sandbox does not know the system calls of ${process.arch}`);
  return found;
}

/** mount.quobyte: sends its arguments and a descriptor of /dev/fuse to the cluster, and does what the cluster says. */
export function perlMount(): string {
  const { mount, setsid, sendmsg } = numbers();
  return String.raw`#!/usr/bin/perl
# mount.quobyte of the Quobyte sandbox: an interpreter of what its cluster says (see program.ts there).
$| = 1;
$^F = 255; # a server that is started here inherits the connection to the kernel
my $me = readlink($0) // $0;
my $bin = $me =~ m{^(.*)/}s ? $1 : '.';
sub fail { print STDERR "mount.quobyte: $_[0]\n"; exit 1 }

sysopen(my $fuse, '/dev/fuse', 04002) or fail("cannot open /dev/fuse: $!");
socket(my $cluster, 1, 1, 0) or fail("no socket: $!");
connect($cluster, pack('S a*', 1, "$bin/../cluster.sock\0")) or fail("no registry answers (is the sandbox up?): $!");
grep { /\n/ } @ARGV and fail('an argument has more than one line');

# struct msghdr with one iovec, and SCM_RIGHTS with the descriptor
my $line = join("\0", 'mount', @ARGV) . "\n";
my $vector = pack('P Q', $line, length $line);
my $rights = pack('Q i i i x4', 20, 1, 1, fileno $fuse);
my $message = pack('x16 P Q P Q x8', $vector, 1, $rights, length $rights);
syscall(${sendmsg}, fileno $cluster, $message, 0) == length $line or fail("cannot ask the registry: $!");

my $program = '';
until ($program =~ /(?:^|\n)exit\t\d+\n\z/) {
  sysread($cluster, $program, 65536, length $program) or fail('the registry went away');
}

sub mount {
  my ($source, $where, $flags, $data) = @_;
  my $type = 'fuse.quobyte';
  $data = sprintf $data, fileno $fuse;
  syscall(${mount}, $source, "$where", $type, $flags + 0, $data) == 0 or fail("cannot mount at $where: $!");
  syswrite($cluster, "mounted\n");
  sysread($cluster, my $answer, 16) or fail('the registry went away');
}

# The usual program is compiled and run at once; the steps that faults need are read only when one comes.
for (split /\n/, $program) {
  my ($step, @fields) = split /\t/, $_, -1;
  if ($step eq 'mount') { mount(@fields) }
  elsif ($step eq 'exit') { exit $fields[0] }
  else { %more or eval join('', <DATA>) or die $@; $more{$step}->(@fields) }
}
__DATA__
sub detached { my $pid = fork // fail("cannot fork: $!"); syscall(${setsid}) unless $pid; return !$pid }
sub until_gone { my $byte; 1 while sysread($cluster, $byte, 1) }
%more = (
  say => sub { print STDERR pack('H*', $_[0]) },
  need => sub { -f $_[0] or fail("cannot read the configuration $_[0]") },
  sleep => sub { select(undef, undef, undef, $_[0] / 1000) },
  hang => sub { close $fuse; sleep 3600 while 1 },
  flood => sub {
    my ($left, $block) = ($_[0], "sandbox\n" x 8192);
    while ($left > 0) { my $sent = syswrite(STDOUT, $block, $left < 65536 ? $left : 65536) // last; $left -= $sent }
  },
  detach => sub {
    detached() or exit 0;
    open(STDIN, '<', '/dev/null'); open(STDOUT, '>', '/dev/null'); open(STDERR, '>', '/dev/null');
  },
  serve => sub {
    my @command = map { $_ eq 'FD' ? fileno $fuse : $_ } @_;
    detached() or return close $fuse;
    close $cluster;
    exec @command;
    fail("cannot start a server: $!");
  },
  linger => sub { detached() or return; close $fuse; until_gone(); exit 0 },
  wait => sub { close $fuse; until_gone() },
);
`;
}

/** umount.quobyte DIR: umount2(2), which does not follow links and asks the server nothing. */
export function perlUnmount(): string {
  return String.raw`#!/usr/bin/perl
# umount.quobyte of the Quobyte sandbox.
if (@ARGV != 1) { print STDERR "usage: umount.quobyte DIRECTORY\n"; exit 2 }
my $where = "$ARGV[0]";
my $UMOUNT_NOFOLLOW = 8;
if (syscall(${numbers().umount2}, $where, $UMOUNT_NOFOLLOW) != 0) { print STDERR "umount.quobyte: $where: $!\n"; exit 1 }
`;
}
