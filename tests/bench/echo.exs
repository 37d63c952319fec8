# SPDX-License-Identifier: MIT

# The echo server of the Elixir tutorial "Task and gen_tcp", with the race between acceptor and client
# mended (a client that has gone by then ends no acceptor) and a backlog as long as the other servers'.
defmodule Echo do
  def accept(listener) do
    {:ok, client} = :gen_tcp.accept(listener)
    {:ok, pid} = Task.Supervisor.start_child(Echo.Tasks, fn -> wait(client) end)
    :gen_tcp.controlling_process(client, pid)
    send(pid, :serve)
    accept(listener)
  end

  defp wait(client) do
    receive do
      :serve -> serve(client)
    end
  end

  defp serve(client) do
    with {:ok, line} <- :gen_tcp.recv(client, 0),
         :ok <- :gen_tcp.send(client, line),
         do: serve(client)
  end
end

[port] = System.argv()
options = [:binary, ip: {127, 0, 0, 1}, packet: :line, active: false, reuseaddr: true, backlog: 4096, nodelay: true]
{:ok, listener} = :gen_tcp.listen(String.to_integer(port), options)
{:ok, _} = Task.Supervisor.start_link(name: Echo.Tasks)
Echo.accept(listener)
