# frozen_string_literal: true

module Redlock
  module FFI
    # What one node said in an inspection. remaining: seconds, nil without expiry.
    InspectedNode = Struct.new(:url, :outcome, :text, :token, :remaining, keyword_init: true)

    # What the nodes said about one lock. token: on most nodes; remaining: seconds, nil without expiry.
    Inspection = Struct.new(:held, :token, :remaining, :node_count_held, :nodes, keyword_init: true) do
      # @return [Boolean] whether one token is on a quorum
      def held?
        held
      end

      # @api private
      def self.read(pointer)
        seconds = ->(ms) { ms.negative? ? nil : ms / 1000.0 }
        nodes = Array.new(C.inspection_node_count(pointer)) do |node|
          InspectedNode.new(url: C.inspection_node_url(pointer, node),
                            outcome: Error.outcome(C.inspection_node_outcome(pointer, node)),
                            text: C.inspection_node_text(pointer, node),
                            token: C.bytes(:inspection_node_token, pointer, node),
                            remaining: seconds.call(C.inspection_node_remaining_ms(pointer, node)))
        end
        new(held: C.inspection_is_held(pointer) == 1, token: C.bytes(:inspection_token, pointer),
            remaining: seconds.call(C.inspection_remaining_ms(pointer)),
            node_count_held: C.inspection_node_count_held(pointer), nodes: nodes)
      ensure
        C.inspection_free(pointer)
      end
    end

    # The counters of one node.
    NodeStats = Struct.new(:url, :up, :note, :requests, :replies, :timeouts, :errors, :reconnects, :pending_releases,
                           keyword_init: true)

    # The counters of a client in this process. acquire_seconds: summed over the locks acquired.
    Stats = Struct.new(:attempts, :acquired, :contended, :no_quorum, :released, :extended, :lost, :acquire_seconds, :nodes,
                       keyword_init: true) do
      # @api private
      def self.read(pointer)
        counters = %i[attempts acquired contended no_quorum released extended lost]
                   .to_h { |name| [name, C.public_send(:"stats_#{name}", pointer)] }
        nodes = Array.new(C.stats_node_count(pointer)) do |node|
          numbers = %i[requests replies timeouts errors reconnects pending_releases]
                    .to_h { |name| [name, C.public_send(:"stats_node_#{name}", pointer, node)] }
          NodeStats.new(url: C.stats_node_url(pointer, node), up: C.stats_node_is_up(pointer, node) == 1,
                        note: C.stats_node_note(pointer, node), **numbers)
        end
        new(**counters, acquire_seconds: C.stats_acquire_ns_sum(pointer) / 1e9, nodes: nodes)
      ensure
        C.stats_free(pointer)
      end
    end
  end
end
