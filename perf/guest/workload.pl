# The guest's application: an order service that keeps everything in its heap, like a cache or a session store.
# usage: workload.pl MIB READY-FILE; fills MIB of heap, makes READY-FILE, then serves "requests" for ever.
use strict;
use warnings;

my ($mib, $ready) = @ARGV;
# Real text for the passages and real words for the names: a tenth of the heap, at most.
my $text = '';
for my $path (glob('/usr/share/doc/apache2-doc/manual/en/*/*.html'), glob('/usr/share/vim/vim*/doc/*.txt')) {
    $text .= head_of($path, 65_536);
    last if length $text > $mib * 1024 * 1024 / 20 or length $text > 4e6;
}
my @words = substr($text, 0, 250_000) =~ /\b([A-Za-z]{3,14})\b/g;
my @archives = glob('/var/cache/apt/archives/*.deb');
die "no words\n"    unless @words > 10_000;
die "no archives\n" unless @archives;

my (%orders, %by_customer, @pages, @bodies);
my $next_id = 100_000;

sub head_of {
    my ($path, $length, $offset) = @_;
    open my $file, '<:raw', $path or return '';
    seek $file, $offset || 0, 0;
    my $bytes = '';
    read $file, $bytes, $length;
    return $bytes;
}

sub words { join ' ', map { $words[rand @words] } 1 .. $_[0] }

# Small, full of pointers: what most of an application's heap looks like.
sub add_order {
    my $id = $next_id++;
    my $customer = 'C' . int(5_000 * rand() ** 2);
    $orders{$id} = {
        id => $id, customer => $customer, item => words(3), quantity => 1 + int rand 20,
        price => 100 * rand, state => 'new', tags => [map { $words[rand @words] } 1 .. 3],
        token => join('', map { sprintf '%08x', rand 0xffffffff } 1 .. 4),
    };
    push @{ $by_customer{$customer} }, $id;
}

# Text: a page rendered from an order and a passage.
sub render_page {
    my $order = $orders{ 100_000 + int rand keys %orders } || { id => 0, item => '', price => 0 };
    return sprintf qq(<html><head><title>Order %d</title></head><body><h1>%s</h1><p>%.2f</p>%s</body></html>\n),
        $order->{id}, $order->{item}, $order->{price}, substr $text, rand(length($text) - 12_000), 1_000 + rand 11_000;
}

# Incompressible: a response body that was compressed before it was cached.
sub compressed_body {
    my $path = $archives[rand @archives];
    return head_of($path, 1_024 + rand 7_168, int rand -s $path);
}

sub resident_mib {
    open my $file, '<', '/proc/self/statm' or die "statm: $!\n";
    return (split ' ', <$file>)[1] / 256;
}

srand 7;
while (resident_mib() < $mib) {
    add_order() for 1 .. 60;
    push @pages, render_page() for 1 .. 8;
    push @bodies, compressed_body() for 1 .. 4;
}
open my $file, '>', $ready or die "$ready: $!\n";
close $file;

# 20 turns a second, each a fixed number of requests in proportion to the heap. Popular orders are asked for
# more often than others (the cube), and some work frees and allocates.
my $requests = 4 + int(keys(%orders) / 2_000);
my $first = 100_000;
my $tick = 0;
while (1) {
    for (1 .. $requests) {
        my $order = $orders{ $first + int(($next_id - $first) * rand() ** 3) } or next;
        $order->{quantity}++;
        $order->{price} *= 1.0001;
        $order->{state} = $order->{state} eq 'paid' ? 'sent' : 'paid';
        $order->{changed} = time;
    }
    # The oldest order goes, a new one comes.
    for (1 .. 1 + $requests / 20) {
        my $gone = delete $orders{ $first++ } or next;
        my $list = $by_customer{ $gone->{customer} };
        @$list = grep { $_ != $gone->{id} } @$list;
        add_order();
    }
    $pages[rand @pages] = render_page() for 1 .. 1 + $requests / 20;
    $bodies[rand @bodies] = compressed_body() if ++$tick % 4 == 0;
    select undef, undef, undef, 0.05;
}
